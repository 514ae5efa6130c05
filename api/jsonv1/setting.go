package jsonv1

// Setting is a value that a server or a worker would start with: an element of what rota config show prints.
type Setting struct {
	// Process is "server" or "worker", and Key the name of its flag.
	Process string `json:"process"`
	Key     string `json:"key"`
	// Values are those of a list, or the one value; none if the value is the empty text. Durations have their unit (1m30s).
	Values []string `json:"values"`
	// From says where it came from: "flag", "environment", "file" or "default". Source is the variable or the path of the
	// file, and Line the line in the file; they are omitted otherwise.
	From   string `json:"from"`
	Source string `json:"source,omitempty"`
	Line   int    `json:"line,omitempty"`
}

// ConfigCheck is what rota config check prints.
type ConfigCheck struct {
	// OK: the processes could start, as far as their configuration goes.
	OK bool `json:"ok"`
	// Mistakes are all that was found, a sentence each.
	Mistakes []string `json:"mistakes"`
}
