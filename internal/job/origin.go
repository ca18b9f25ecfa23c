package job

// Origin is how the rows of a dataset are traced to the lines that the user wrote. It is for messages: no key and no
// artifact knows it.
type Origin struct {
	Notes  string             `json:"notes"`            // a file, gzip: for runs of rows their number, where the first came from, and whence
	Source string             `json:"source,omitempty"` // of data.load, as the user writes it now: notes name lines of it
	Inputs map[string]*Origin `json:"inputs,omitempty"` // of other kinds, by field: notes name rows of these
}

// OriginFile is the file in a stage's log that notes where the rows of a port come from.
func OriginFile(port string) string { return "rows." + port + ".gz" }
