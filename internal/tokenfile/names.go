package tokenfile

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/hone-ml/hone/internal/ordjson"
)

// names is what tokenizer_config.json and special_tokens_map.json say about special tokens.
type names struct {
	added   []Added          // of added_tokens_decoder, by id
	special map[string]Added // by role: bos_token, …, and extra ones
	order   []string         // roles, in the order in which transformers adds them
	split   bool             // special tokens in a text are text (split_special_tokens)
}

// roles that transformers knows by name, in its order.
var roles = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

func readNames(dir string) (*names, error) {
	n := &names{special: map[string]Added{}, order: slices.Clone(roles)}
	path := filepath.Join(dir, "tokenizer_config.json")
	config, err := readObject(path)
	if err != nil {
		return nil, err
	}
	if err := n.readAdded(config["added_tokens_decoder"]); err != nil {
		return nil, fmt.Errorf("%s: added_tokens_decoder: %w", path, err)
	}
	if err := n.readRoles(config); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	n.split = config["split_special_tokens"].Kind() == 't'
	if len(n.added) == 0 {
		// The map is the older place for the same names; where tokens are listed with their ids it is not read.
		path := filepath.Join(dir, "special_tokens_map.json")
		m, err := readObject(path)
		if err != nil {
			return nil, err
		}
		if err := n.readRoles(m); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return n, nil
}

func (n *names) readAdded(v jsontext.Value) error {
	if v == nil {
		return nil
	}
	var byID map[string]Added
	if err := json.Unmarshal(v, &byID); err != nil {
		return ordjson.Explain(v, err)
	}
	for key, a := range byID {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil {
			return fmt.Errorf("a token's id is wanted, not %q", key)
		}
		a.ID = int32(id)
		n.added = append(n.added, a)
	}
	slices.SortFunc(n.added, func(a, b Added) int { return int(a.ID) - int(b.ID) })
	return nil
}

func (n *names) readRoles(config map[string]jsontext.Value) error {
	for _, role := range roles {
		if v, ok := config[role]; ok {
			a, err := namedToken(v)
			if err != nil {
				return fmt.Errorf("%s: %w", role, err)
			}
			if a == nil {
				delete(n.special, role)
			} else {
				n.special[role] = *a
			}
		}
	}
	for _, list := range []string{"extra_special_tokens", "additional_special_tokens"} {
		v := config[list]
		if v.Kind() != '[' {
			continue
		}
		var tokens []jsontext.Value
		if err := json.Unmarshal(v, &tokens); err != nil {
			return fmt.Errorf("%s: %w", list, err)
		}
		for i, v := range tokens {
			role := fmt.Sprintf("%s[%d]", list, i)
			a, err := namedToken(v)
			if err != nil || a == nil {
				return fmt.Errorf("%s: not a token: %w", role, err)
			}
			if _, known := n.special[role]; !known {
				n.order = append(n.order, role)
			}
			n.special[role] = *a
		}
	}
	return nil
}

// namedToken reads a token that is a string or an object with content; null is none.
func namedToken(v jsontext.Value) (*Added, error) {
	var a Added
	switch v.Kind() {
	case 'n':
		return nil, nil
	case '"':
		return &a, json.Unmarshal(v, &a.Content)
	}
	return &a, ordjson.Explain(v, json.Unmarshal(v, &a))
}
