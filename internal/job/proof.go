package job

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// What is proven of the rows of a training, in the order in which it is told.
const (
	ProofForm    = "form"    // rows have the columns and turns that this training reads
	ProofTurns   = "turns"   // each says something, in an order that templates print
	ProofRender  = "renders" // the template prints each of them
	ProofPrefix  = "prefix"  // and prints a conversation's beginning as it prints it alone
	ProofMask    = "mask"    // tokens of each row train
	ProofEnd     = "end"     // among them the end of each turn of the assistant, at which a model learns to stop
	ProofLength  = "length"  // within maxLength
	ProofSpecial = "special" // each special token is one token
	ProofOverlap = "overlap" // no row to measure by is trained on
	ProofNear    = "near"    // nor is one that asks nearly the same
)

// State is what a proof came to.
type State string

// Fails is what training refuses, or would learn nothing right from; Advice is what works and is probably not meant.
const (
	Proven   State = "proven"
	Advice   State = "advice"
	Fails    State = "fails"
	Unproven State = "unproven"
)

// Proofs is report.json of a stage vet.data.
type Proofs struct {
	Sets     []*Rows    `json:"sets"`
	Proofs   []*Proof   `json:"proofs"`
	Examples []*Example `json:"examples"` // of the training's data, the first that were looked at
}

// Rows is a dataset that was looked at.
type Rows struct {
	Data    string `json:"data"` // the field that reads it: data, eval.data
	Rows    int64  `json:"rows"`
	Looked  int64  `json:"looked"`  // at so many of them, spread over all
	Tokens  int64  `json:"tokens"`  // of these, before truncation
	Trained int64  `json:"trained"` // of the tokens
	Longest int64  `json:"longest"` // tokens of a row
}

// Proof is what one proof came to, for the rows at a field of the stage that proves. hone calls against[0] by the suites that it is.
type Proof struct {
	Name    string   `json:"name"`
	Data    string   `json:"data"`
	State   State    `json:"state"`
	Message string   `json:"message"`
	Rows    int64    `json:"rows"` // that the message is about
	Of      int64    `json:"of"`   // all that were looked at for it
	Found   []*Found `json:"found"`
}

// Found is a row that a proof names; ten are at most, and those of which the same is to be said are counted.
type Found struct {
	Row     int64  `json:"row"` // of the dataset, from 1
	Where   string `json:"where,omitempty"`
	Message string `json:"message,omitempty"`
	More    int64  `json:"more,omitempty"` // rows of which the same is to be said

	Same      int64  `json:"same,omitempty"` // of an overlap: the row of the training's data
	SameWhere string `json:"same_where,omitempty"`
}

// Example is a row as the model sees it.
type Example struct {
	Row   int64  `json:"row"`
	Where string `json:"where,omitempty"`
	Parts []Part `json:"parts"`
}

// Part is neighbouring tokens as text, of which all train or none does.
type Part struct {
	Text    string `json:"text"`
	Trained bool   `json:"trained"`
	Tokens  int    `json:"tokens"`
}

const proofsFile = "report.json"

// Write writes the report into the folder of its port. Where a row stands in the user's files is left out: it changes while
// the rows stay.
func (p *Proofs) Write(dir string) error {
	b, err := json.MarshalIndent(p, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, proofsFile), append(b, '\n'), 0o644)
}

// ReadProofs reads the report in a folder.
func ReadProofs(dir string) (*Proofs, error) {
	b, err := os.ReadFile(filepath.Join(dir, proofsFile))
	if err != nil {
		return nil, err
	}
	p := &Proofs{}
	return p, json.Unmarshal(b, p)
}
