package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hone-ml/hone/runner/store"
)

// What begins several keys names none: all are listed, with the digits that tell them apart.
func TestRecordOfSeveral(t *testing.T) {
	st, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Init(); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := os.WriteFile(filepath.Join(out, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	hash, err := st.Put(out)
	if err != nil {
		t.Fatal(err)
	}
	common := strings.Repeat("ab", 10)
	for i := range 3 {
		err := st.Commit(&store.Record{
			Key: fmt.Sprintf("%s%d%s", common, i, strings.Repeat("0", 43)), Kind: "exec", Pipeline: "p", Stage: fmt.Sprint("s", i), Started: time.Unix(int64(i), 0),
			Outputs: map[string]store.Output{"out": {Kind: "files", Hash: hash}},
		}, "")
		if err != nil {
			t.Fatal(err)
		}
	}
	f := flags{store: st.Dir}
	_, _, _, err = f.record(common[:8], t.TempDir())
	if err == nil || exitCode(err) != exitUsage || !strings.HasPrefix(err.Error(), common[:8]+": several begin so: name more digits\n") {
		t.Fatal(err)
	}
	for i := range 3 {
		if want := fmt.Sprintf("\n  %s%d  the run  s%d of p  ", common, i, i); !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	if rec, _, _, err := f.record(common+"1", t.TempDir()); err != nil || rec.Stage != "s1" {
		t.Errorf("%v, %v", rec, err)
	}
}
