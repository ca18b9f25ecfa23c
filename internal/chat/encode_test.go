package chat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hone-ml/hone/internal/ordjson"
)

// recorded answers with the encodings that a golden case keeps.
type recorded []ordjson.Value

func (r recorded) Encode(text string, addSpecial bool) ([]int32, [][2]int, error) {
	for _, item := range r {
		e := item.([]ordjson.Value)
		if e[0] != text || e[1] != addSpecial {
			continue
		}
		var offsets [][2]int
		for _, o := range e[3].([]ordjson.Value) {
			pair := integers(o)
			offsets = append(offsets, [2]int{int(pair[0]), int(pair[1])})
		}
		return integers(e[2]), offsets, nil
	}
	return nil, nil, fmt.Errorf("TRL does not encode %q (special tokens: %v)", text, addSpecial)
}

func integers(v ordjson.Value) []int32 {
	var ids []int32
	for _, n := range v.([]ordjson.Value) {
		i, err := n.(ordjson.Number).Int64()
		if err != nil {
			panic(err)
		}
		ids = append(ids, int32(i))
	}
	return ids
}

func TestIDsAndMasksAreTRLs(t *testing.T) {
	file := readValue(t, "testdata/masks.json").(*ordjson.Object)
	var special []string
	list, _ := file.Get("special")
	for _, s := range list.([]ordjson.Value) {
		special = append(special, s.(string))
	}
	cases, _ := file.Get("cases")
	for _, item := range cases.([]ordjson.Value) {
		c := item.(*ordjson.Object)
		name, _ := c.Text("template")
		title, _ := c.Text("name")
		loss, _ := c.Text("loss")
		mask, _ := c.Text("mask")
		encodings, _ := c.Get("encodings")
		ids, _ := c.Get("ids")
		data, _ := c.Get("row")
		t.Run(name+"/"+title+"/"+loss, func(t *testing.T) {
			source, err := os.ReadFile(filepath.Join("testdata/trl", name))
			if err != nil {
				t.Fatal(err)
			}
			template, err := Parse(string(source))
			if err != nil {
				t.Fatal(err)
			}
			template = template.With(map[string]string{"bos_token": "<s>", "eos_token": "</s>"}, special)
			row, err := NewRow(func(column string) ordjson.Value { v, _ := data.(*ordjson.Object).Get(column); return v })
			if err != nil {
				t.Fatal(err)
			}
			e, err := Encode(context.Background(), template, recorded(encodings.([]ordjson.Value)), row, loss, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprint(e.IDs), fmt.Sprint(integers(ids)); got != want {
				t.Errorf("ids %s, want %s", got, want)
			}
			if got := bits(e.Mask); got != mask {
				t.Errorf("mask\n%s, want\n%s", got, mask)
			}
		})
	}
}

func bits(mask []bool) string {
	var b strings.Builder
	for _, m := range mask {
		b.WriteByte("01"[map[bool]int{true: 1}[m]])
	}
	return b.String()
}

// byByte is a tokenizer whose tokens are bytes; bos is 256.
type byByte struct{}

func (byByte) Encode(text string, addSpecial bool) (ids []int32, offsets [][2]int, err error) {
	if addSpecial {
		ids, offsets = append(ids, 256), append(offsets, [2]int{})
	}
	for i := range len(text) {
		ids, offsets = append(ids, int32(text[i])), append(offsets, [2]int{i, i + 1})
	}
	return ids, offsets, nil
}

func row(t *testing.T, source string) *Row {
	t.Helper()
	v, err := ordjson.Parse([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewRow(func(column string) ordjson.Value { v, _ := v.(*ordjson.Object).Get(column); return v })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEncodeRefuses(t *testing.T) {
	chatml, err := Family("chatml")
	if err != nil {
		t.Fatal(err)
	}
	chatml = chatml.With(map[string]string{"eos_token": "</s>"}, nil)
	for _, c := range []struct{ row, loss, want string }{
		{`{"messages": [{"role": "user", "content": "a"}]}`, "assistant", "no assistant turn"},
		{`{"messages": [{"role": "user", "content": "a"}]}`, "completion", `loss "completion" needs prompt and completion`},
		{`{"text": "a"}`, "assistant", `loss "assistant" needs messages`},
		{`{"text": "a"}`, "some", `unknown loss "some"`},
		{`{"messages": [{"role": "user", "content": "a\u0000b"}]}`, "all", "messages[0]: NUL byte at byte 1"},
		{`{"prompt": "a\u0000", "completion": "b"}`, "", "prompt: NUL byte at byte 1"},
		{`{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "user", "content": "b"}]}`, "assistant", "no assistant turn"},
	} {
		_, err := Encode(context.Background(), chatml, byByte{}, row(t, c.row), c.loss, time.Time{})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s with loss %q: error %v, want %s", c.row, c.loss, err, c.want)
		}
	}
	invalid := &Row{Messages: []Message{Turn("user", "a\xffb")}}
	if _, err := Encode(context.Background(), chatml, byByte{}, invalid, "all", time.Time{}); err == nil || err.Error() != "messages[0]: invalid UTF-8 at byte 1" {
		t.Errorf("invalid UTF-8: %v", err)
	}
}

func TestNewRowRefuses(t *testing.T) {
	for source, want := range map[string]string{
		`{}`:                 "no messages, no prompt and completion, and no text",
		`{"messages": []}`:   "messages: no messages",
		`{"messages": [{}]}`: "messages: turn 1 has no role",
		`{"messages": [{"role": "user", "content": "a"}, {"role": 7}]}`:                        "messages: turn 2 has a role that is not text",
		`{"messages": [{"role": "user", "contents": "a"}]}`:                                    "messages: turn 1 has no content but contents (did you mean content?)",
		`{"messages": [{"role": "assistant", "tool_calls": [], "thinking": "", "name": "a"}]}`: "messages: turn 1 has no content",
		`{"messages": "a"}`: "messages: not a list of messages",
		`{"prompt": "a"}`:   "no messages, no prompt and completion, and no text",
		`{"prompt": "a", "completion": [{"role": "user", "content": "a"}]}`: "prompt: not a list of messages",
		`{"text": 1}`:                 "text: not text",
		`{"text": "a", "tools": "{"}`: "tools: ",
	} {
		v, err := ordjson.Parse([]byte(source))
		if err != nil {
			t.Fatal(err)
		}
		_, err = NewRow(func(column string) ordjson.Value { v, _ := v.(*ordjson.Object).Get(column); return v })
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", source, err, want)
		}
	}
}

func TestTruncateKeepsTheStart(t *testing.T) {
	e := &Encoded{IDs: []int32{1, 2, 3, 4}, Mask: []bool{false, false, true, true}}
	if !e.Truncate(0) || !e.Truncate(3) || len(e.IDs) != 3 || len(e.Mask) != 3 {
		t.Errorf("%+v", e)
	}
	if e.Truncate(2) {
		t.Errorf("%+v still trains", e)
	}
}

func TestToolsMayBeText(t *testing.T) {
	r := row(t, `{"messages": [{"role": "user", "content": "a"}], "tools": "[{\"b\": 1, \"a\": 2}]"}`)
	template, err := Parse("{{ tools | tojson }}")
	if err != nil {
		t.Fatal(err)
	}
	e, err := Encode(context.Background(), template, byByte{}, r, "all", time.Time{})
	if err != nil || len(e.IDs) != len(`[{"b": 1, "a": 2}]`) {
		t.Errorf("%v %v", e, err)
	}
}

func TestPromptThatIsNoPrefix(t *testing.T) {
	// The generation prompt opens a thought that the whole conversation does not have.
	template, err := Parse("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>hm{% endif %}")
	if err != nil {
		t.Fatal(err)
	}
	r := row(t, `{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "ok"}]}`)
	e, err := Encode(context.Background(), template, byByte{}, r, "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if !e.Diverged || bits(e.Mask) != strings.Repeat("0", len("<user>a<assistant>"))+"11" {
		t.Errorf("%v %s", e.Diverged, bits(e.Mask))
	}
	if _, err := template.Spans(context.Background(), Vars{Messages: []Message{Turn("user", "a"), Turn("assistant", "ok")}}); !errors.Is(err, ErrPrefix) {
		t.Errorf("spans: %v", err)
	}
}
