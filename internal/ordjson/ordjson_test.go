package ordjson

import (
	"io"
	"strings"
	"testing"
)

func TestRoundTripKeepsOrderAndNumbers(t *testing.T) {
	for _, s := range []string{
		`{"z":1,"a":1.0,"m":1e3,"b":[null,true,false,"é\n<&>"],"big":12345678901234567890}`,
		`{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10,"k":11,"l":12,"m":13,"n":14}`,
		`[]`, `{}`, `null`, `"x"`, `-0.0`,
	} {
		v, err := Parse([]byte(s))
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if got := string(Append(nil, v)); got != s {
			t.Errorf("read %s, wrote %s", s, got)
		}
	}
}

func TestRefuses(t *testing.T) {
	for s, want := range map[string]string{
		"":                                 "no JSON value",
		`{"a":1,"a":2}`:                    "duplicate",
		"\"\xff\"":                         "UTF-8",
		`"\ud800"`:                         "surrogate",
		`{"a":`:                            "middle of a value",
		`[1`:                               "middle of a value",
		`1 2`:                              "after the JSON value",
		`NaN`:                              "JSON",
		strings.Repeat("[", 1<<16):         "nested deeper",
		strings.Repeat(`{"a":`, 300) + "1": "nested deeper",
		`{"x":{"y":[1,2,tru]}}`:            "/x/y/2",
	} {
		_, err := Parse([]byte(s))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: error %v, want one with %q", s, err, want)
		}
	}
}

func TestDecoderReadsAListByElement(t *testing.T) {
	d := NewDecoder(strings.NewReader(`[{"a":1}, {"a":2}]`))
	if d.Peek() != '[' {
		t.Fatalf("peek %q", d.Peek())
	}
	if err := d.Open(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for d.Peek() != ']' {
		if _, err := d.Next(); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Next(); err != io.EOF || n != 2 {
		t.Fatalf("%d elements, then %v", n, err)
	}
}

func TestObject(t *testing.T) {
	o := New(Member{"a", "1"}, Member{"b", nil}, Member{"a", "2"})
	o.Set("c", true)
	o.Delete("b")
	if got := string(Append(nil, o)); got != `{"a":"2","c":true}` {
		t.Error(got)
	}
	if _, ok := o.Get("b"); ok {
		t.Error("b is still there")
	}
}

// Expected texts are Python's: json.dumps(json.loads(x)).
func TestNormalizeSpellsNumbersAsPython(t *testing.T) {
	for in, want := range map[string]string{
		"1": "1", "-0": "0", "-0.0": "-0.0", "1.0": "1.0", "1.50": "1.5", "1e3": "1000.0", "1E16": "1e+16", "123456789012345680000.0": "1.2345678901234568e+20",
		"0.0001": "0.0001", "0.00001": "1e-05", "1e-7": "1e-07", "1e100": "1e+100", "0.1": "0.1", "9999999999999998.0": "9999999999999998.0",
		"12345678901234567890123": "12345678901234567890123", `[1e2,{"a":2.50}]`: `[100.0,{"a":2.5}]`,
	} {
		v, err := Parse([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		v, err = Normalize(v)
		if got := string(Append(nil, v)); err != nil || got != want {
			t.Errorf("%s became %s (%v), want %s", in, got, err, want)
		}
	}
	if _, err := Normalize(Number("1e999")); err == nil {
		t.Error("1e999 was read")
	}
}
