package schemas

import (
	"bytes"
	"encoding/json"
)

// Targets are the linear layers that an adapter covers: every one but the head, those whose names end so, or those whose whole names
// an expression matches.
type Targets struct {
	AllLinear bool
	Suffixes  []string
	Pattern   string
}

const allLinear = "all-linear"

// MarshalJSON writes "all-linear", the expression or the list of suffixes.
func (t Targets) MarshalJSON() ([]byte, error) {
	switch {
	case t.AllLinear:
		return json.Marshal(allLinear)
	case t.Pattern != "":
		return json.Marshal(t.Pattern)
	}
	return json.Marshal(t.Suffixes)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Targets) UnmarshalJSON(b []byte) error {
	*t = Targets{}
	if bytes.HasPrefix(b, []byte(`"`)) {
		if err := json.Unmarshal(b, &t.Pattern); err != nil {
			return err
		}
		if t.Pattern == allLinear {
			*t = Targets{AllLinear: true}
		}
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
