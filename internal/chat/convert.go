package chat

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"

	"github.com/hone-ml/hone/internal/chat/jinja"
	"github.com/hone-ml/hone/internal/ordjson"
)

// message converts as transformers prepares messages: fields that are null are left out, and reasoning, under
// whichever of its names it came, is there as reasoning_content and thinking.
func message(m Message) (jinja.Value, error) {
	if m == nil {
		return nil, errors.New("not an object")
	}
	plain := jinja.NewDict()
	for _, member := range m.Members() {
		if member.Value == nil {
			continue
		}
		v, err := convert(member.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", member.Key, err)
		}
		plain.Set(member.Key, v)
	}
	for _, name := range []string{"reasoning_content", "thinking", "reasoning"} {
		reasoning, ok := plain.Get(name)
		if !ok {
			continue
		}
		named := jinja.NewDict().Set("thinking", reasoning)
		for i := range plain.Len() {
			key, v := plain.At(i)
			named.Set(key.(string), v)
		}
		return named.Set("reasoning_content", reasoning), nil
	}
	return plain, nil
}

// objects converts a list of objects, or nil.
func objects(v ordjson.Value) (jinja.Value, error) {
	if v == nil {
		return nil, nil
	}
	list, ok := v.([]ordjson.Value)
	if !ok {
		return nil, errors.New("not a list")
	}
	for i, item := range list {
		if _, ok := item.(*ordjson.Object); !ok {
			return nil, fmt.Errorf("[%d] is not an object", i)
		}
	}
	return convert(list)
}

// convert gives the Python value of JSON.
func convert(v ordjson.Value) (jinja.Value, error) {
	switch v := v.(type) {
	case nil, bool, string:
		return v, nil
	case ordjson.Number:
		return number(v)
	case []ordjson.Value:
		list := jinja.NewList(make([]jinja.Value, len(v))...)
		for i, item := range v {
			c, err := convert(item)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			list.Items[i] = c
		}
		return list, nil
	case *ordjson.Object:
		d := jinja.NewDict()
		for _, m := range v.Members() {
			c, err := convert(m.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.Key, err)
			}
			d.Set(m.Key, c)
		}
		return d, nil
	}
	return nil, fmt.Errorf("no JSON value: %T", v)
}

func number(n ordjson.Number) (jinja.Value, error) {
	if ordjson.IsInt(n) {
		if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
			return i, nil
		}
		if b, ok := new(big.Int).SetString(string(n), 10); ok && len(n) <= 4300 {
			return b, nil
		}
		return nil, fmt.Errorf("number %.40s is too long", n)
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		return nil, fmt.Errorf("number %.40s is out of range", n)
	}
	return f, nil
}
