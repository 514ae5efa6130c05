package history

// FSave takes a backup of the cluster: Save, Saved.
const FSave F = "save"

// FRestored is a cluster that was made from a backup, beside the one that it is of, and worked for a moment: Restored.
const FRestored F = "restored"

// Save is a backup to take.
type Save struct {
	File string `json:"file"`
}

// Saved is a whole backup.
type Saved struct {
	File  string `json:"file"`
	Index uint64 `json:"index"`
	// NextJob and NextToken are what the cluster would have given out next.
	NextJob   uint64 `json:"next_job"`
	NextToken uint64 `json:"next_token"`
}

// Restored is what a cluster has that was made from a backup, and what it has done.
type Restored struct {
	File string `json:"file"`
	// Problem is why it does not work; "": it does.
	Problem string `json:"problem,omitempty"`
	// Jobs and Results are all of its jobs and results, when those of the backup had ended.
	Jobs    []Job        `json:"jobs"`
	Results []JobResults `json:"results"`
	// Made is the job that was submitted to it.
	Made uint64 `json:"made,omitempty"`
	// Cursor says what became of a cursor that the cluster before had given out: refused, taken; "": there was none.
	Cursor string `json:"cursor,omitempty"`
}

// What became of a cursor.
const (
	CursorRefused = "refused"
	CursorTaken   = "taken"
)
