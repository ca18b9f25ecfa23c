package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Targets are the linear layers that an adapter covers: every one but the head, or those whose names end so.
type Targets struct {
	AllLinear bool
	Suffixes  []string
}

const allLinear = "all-linear"

// MarshalJSON writes "all-linear" or the list of suffixes.
func (t Targets) MarshalJSON() ([]byte, error) {
	if t.AllLinear {
		return json.Marshal(allLinear)
	}
	return json.Marshal(t.Suffixes)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Targets) UnmarshalJSON(b []byte) error {
	*t = Targets{}
	if bytes.HasPrefix(b, []byte(`"`)) {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		if s != allLinear {
			return errors.New(`targets: "all-linear" or a list of suffixes`)
		}
		t.AllLinear = true
		return nil
	}
	return json.Unmarshal(b, &t.Suffixes)
}

// MarshalJSON writes the edge, or the path as a string.
func (r Ref) MarshalJSON() ([]byte, error) {
	if r.Edge != nil {
		return json.Marshal(r.Edge)
	}
	return json.Marshal(r.Path)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Ref) UnmarshalJSON(b []byte) error {
	*r = Ref{}
	if bytes.HasPrefix(b, []byte(`"`)) {
		return json.Unmarshal(b, &r.Path)
	}
	r.Edge = new(Edge)
	return strict(b, r.Edge)
}
