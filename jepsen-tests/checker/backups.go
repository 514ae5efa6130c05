package checker

import (
	"github.com/rota-scheduler/rota/jepsen-tests/history"
)

// checkBackups is S23.
func checkBackups(v *view, r *Result) {
	saves := map[string]*history.Call[history.Save, history.Saved]{}
	for i := range v.saves {
		if c := &v.saves[i]; c.Type == history.OK {
			saves[c.Out.File] = c
		}
	}
	given := v.given()
	for i := range v.restored {
		restored := &v.restored[i].Value
		r.Compared++
		save := saves[restored.File]
		switch {
		case save == nil:
			r.problem("%s was restored, and no save of it succeeded", restored.File)
			continue
		case restored.Problem != "":
			r.problem("%s was not restored, or did not work: %s", restored.File, restored.Problem)
			continue
		case restored.Cursor == history.CursorTaken:
			r.problem("%s took a cursor of the cluster before", restored.File)
		}
		checkKept(v, r, save, restored)
		checkOld(v, r, save, restored)
		checkNew(r, given, save, restored)
	}
}

// checkKept checks that a backup has the jobs that were acknowledged before it was asked for, and that all of its jobs end.
func checkKept(v *view, r *Result, save *history.Call[history.Save, history.Saved], restored *history.Restored) {
	jobs := map[uint64]history.Job{}
	for _, j := range restored.Jobs {
		jobs[j.ID] = j
		if !j.Final {
			r.problem("%s: job %d is %s in the end", restored.File, j.ID, j.State)
		}
	}
	for i := range v.submits {
		c := &v.submits[i]
		if !acknowledged(c) || c.Done.Time >= save.Invoke.Time {
			continue
		}
		r.Compared++
		if j, there := jobs[c.Out.Job]; !there || j.Key != c.In.Key {
			r.problem("%s does not have job %d of key %s, which op %d acknowledged before op %d asked for the backup",
				restored.File, c.Out.Job, c.In.Key, c.Done.Index, save.Invoke.Index)
		}
	}
}

// checkOld checks that what had succeeded before the backup ended as the servers show it. A task that was assigned then may be ended
// by the restored cluster, under the token that it had, but no worker can report a success there.
func checkOld(v *view, r *Result, save *history.Call[history.Save, history.Saved], restored *history.Restored) {
	ends := v.outcomes()
	for _, j := range restored.Results {
		for _, o := range j.Outcomes {
			end, ended := ends[taskID{j.Job, o.Index}]
			if o.State != "succeeded" || o.Token == 0 || o.Token >= save.Out.NextToken || !ended {
				continue
			}
			r.Compared++
			if o.State != end.State || o.Token != end.Token || o.Output != end.Output {
				r.problem("%s: task %d.%d ended as %s under token %d, and as %s under token %d where it was saved",
					restored.File, j.Job, o.Index, o.State, o.Token, end.State, end.Token)
			}
		}
	}
}

// owners is who has given each number out.
type owners struct{ tokens, jobs map[uint64]string }

// checkNew checks that nobody else has given out what a restored cluster has. Its own numbers are added.
func checkNew(r *Result, given owners, save *history.Call[history.Save, history.Saved], restored *history.Restored) {
	for _, j := range restored.Results {
		for _, o := range j.Outcomes {
			if o.Token < save.Out.NextToken {
				continue // of before the backup, or none
			}
			r.Compared++
			if by, twice := given.tokens[o.Token]; twice {
				r.problem("%s gave token %d out to task %d.%d, and so did %s", restored.File, o.Token, j.Job, o.Index, by)
			}
			given.tokens[o.Token] = restored.File
		}
	}
	if by, twice := given.jobs[restored.Made]; twice {
		r.problem("%s made job %d, and so did %s", restored.File, restored.Made, by)
	}
	given.jobs[restored.Made] = restored.File
}

// given is what the servers have given out that were saved.
func (v *view) given() owners {
	const servers = "the cluster that was saved"
	all := owners{map[uint64]string{}, map[uint64]string{}}
	for _, o := range v.outcomes() {
		all.tokens[o.Token] = servers
	}
	for _, token := range v.newestTokens() {
		all.tokens[token] = servers
	}
	for i := range v.submits {
		if c := &v.submits[i]; acknowledged(c) {
			all.jobs[c.Out.Job] = servers
		}
	}
	for _, server := range v.jobs {
		for _, j := range server.Value.Jobs {
			all.jobs[j.ID] = servers
		}
	}
	return all
}
