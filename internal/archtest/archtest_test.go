package archtest

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestRepositoryKeepsTheHouseRules(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	repo, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(repo.pkgs) == 0 || len(repo.imports) == 0 {
		t.Fatalf("loaded %d packages and %d nodes of the import graph from %s: nothing was checked",
			len(repo.pkgs), len(repo.imports), root)
	}
	if len(repo.texts) == 0 {
		t.Fatalf("found no documents below %s: no file that they name was looked for", root)
	}
	for _, violation := range slices.Concat(check(houseRules, repo), checkRows(houseRules, repo)) {
		t.Error(violation)
	}
}
