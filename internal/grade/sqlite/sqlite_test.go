package sqlite

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// database makes a file with a table of people and a full-text index.
func database(t testing.TB) string {
	t.Helper()
	if err := configured(); err != nil { // before the driver starts the library
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a b%20#?.db")
	made := filepath.Join(t.TempDir(), "x.db")
	db, err := sql.Open("sqlite", made)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE people (name TEXT, age INTEGER, height REAL);
		INSERT INTO people VALUES ('Ada', 36, 1.65), ('Bob', 36, 1.8), ('Cyd', 12, NULL);
		CREATE VIRTUAL TABLE notes USING fts5(body); INSERT INTO notes VALUES ('a quick fox'), ('a lazy dog');`); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(made, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func TestEqual(t *testing.T) {
	db := open(t, database(t))
	for _, test := range []struct {
		want, got string
		equal     bool
	}{
		{"SELECT name FROM people", "SELECT name AS n FROM people ORDER BY name DESC", true},
		{"SELECT name FROM people ORDER BY name", "SELECT name FROM people ORDER BY name DESC", false},
		{"SELECT name FROM people order/**/by name", "SELECT name FROM people ORDER BY name DESC", false},
		{"SELECT * FROM (SELECT name FROM people ORDER BY name)", "SELECT name FROM people ORDER BY name DESC", true},
		{"SELECT name FROM people WHERE name <> ' ORDER BY ' -- ORDER BY", "SELECT name FROM people ORDER BY name DESC", true},
		{"SELECT name, row_number() OVER (ORDER BY name) FROM people", "SELECT name, row_number() OVER (ORDER BY name) FROM people ORDER BY 1 DESC", true},
		{"SELECT count(*) FROM people", "SELECT 3.0", true},
		{"SELECT 0.1 + 0.2", "SELECT 0.3", true},
		{"SELECT 12345678901.2", "SELECT 12345678904.7", false},
		{"SELECT 9007199254740993", "SELECT 9007199254740992", false},
		{"SELECT 1", "SELECT '1'", false},
		{"SELECT NULL", "SELECT 'null'", false},
		{"SELECT 'a'", "SELECT x'61'", false},
		{"SELECT name, age FROM people", "SELECT age, name FROM people", false},
		{"SELECT age FROM people", "SELECT DISTINCT age FROM people", false},
		{"SELECT age FROM people", "SELECT age, age FROM people", false},
		{"SELECT name FROM people WHERE 0", "SELECT age FROM people WHERE 1 = 2", true},
		{"SELECT body FROM notes WHERE notes MATCH 'fox'", "SELECT 'a quick fox';", true},
		{"WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n", "VALUES (1), (2), (3)", true},
		{"SELECT 'Zoë'", "SELECT 'Zoë'", true},
	} {
		want, err := db.Query(test.want)
		if err != nil {
			t.Fatalf("%s: %v", test.want, err)
		}
		got, err := db.Query(test.got)
		if err != nil {
			t.Fatalf("%s: %v", test.got, err)
		}
		if want.Equal(got) != test.equal {
			t.Errorf("%s\n%s\nequal: %v", test.want, test.got, !test.equal)
		}
	}
}

const endless = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n) SELECT "

func TestRefused(t *testing.T) {
	path := database(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	db := open(t, path)
	other := filepath.Join(filepath.Dir(path), "other.db")
	for query, want := range map[string]string{
		"":                                       "no statement",
		"-- nothing":                             "no statement",
		"\x00SELECT 1":                           "",
		"SELECT 1; SELECT 2":                     "more than one",
		"SELECT 1; DROP TABLE people":            "not authorized",
		"DELETE FROM people":                     "not authorized",
		"INSERT INTO people VALUES (1, 2, 3)":    "not authorized",
		"DROP TABLE people":                      "not authorized",
		"CREATE TABLE t (x)":                     "not authorized",
		"CREATE TEMP TABLE t (x)":                "not authorized",
		"ATTACH '" + other + "' AS o":            "not authorized",
		"VACUUM INTO '" + other + "'":            "authorization denied",
		"PRAGMA writable_schema = 1":             "not authorized",
		"PRAGMA temp_store = 1":                  "not authorized",
		"BEGIN":                                  "not authorized",
		"SELECT load_extension('x')":             "not authorized",
		"SELECT random()":                        "not authorized",
		"SELECT * FROM people ORDER BY RaNdOm()": "not authorized",
		"SELECT nope FROM people":                "no such column",
		"SELEKT":                                 "syntax error",
		endless + "count(*) FROM n":              "too long",
		endless + "i FROM n":                     "more than 100000 rows",
		endless + "hex(zeroblob(500000)) FROM n": "bytes",
		endless + "hex(zeroblob(500000)) || i FROM n ORDER BY 1":                "", // out of memory, or of steps
		endless + "group_concat(i) FROM n":                                      "too",
		"SELECT zeroblob(2000000)":                                              "too big",
		"SELECT " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000): "",
		"SELECT " + strings.Repeat("1+", 5000) + "1":                            "too large",
		"SELECT 1 " + strings.Repeat("UNION SELECT 1 ", 600):                    "too many terms",
	} {
		start := time.Now()
		_, err := db.Query(query)
		if took := time.Since(start); took > maxTime+5*time.Second {
			t.Errorf("%.60q took %v", query, took)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: error %v, want %q", query, err, want)
		}
	}
	if r, err := db.Query("SELECT name FROM people"); err != nil || len(r.rows) != 3 {
		t.Errorf("afterwards: %v, %v", r, err)
	}
	after, err := os.ReadFile(path)
	if err != nil || string(before) != string(after) {
		t.Error("the file is another one", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("files beside it: %v", entries)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("two/a", "x")
	write("two/b", "x")
	logged := write("logged.db", "x")
	write("logged.db-wal", "x")
	for path, want := range map[string]string{
		filepath.Join(dir, "gone.db"):                         "no such file",
		write("text.db", strings.Repeat("no database ", 100)): "not a database",
		write("empty.db", ""):                                 "is empty",
		filepath.Join(dir, "two"):                             "2 files",
		logged:                                                "wal_checkpoint",
	} {
		if db, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", path, db, err)
		}
	}
	artifact := filepath.Join(dir, "artifact")
	if err := os.Mkdir(artifact, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(database(t), filepath.Join(artifact, "x.db")); err != nil {
		t.Fatal(err)
	}
	open(t, artifact)
}

// Queries are a model's: anything. None harms the file, none runs on.
func FuzzQuery(f *testing.F) {
	path := database(f)
	db := open(f, path)
	for _, s := range []string{"SELECT * FROM people ORDER BY name", "SELECT ';' ; --", "WITH a AS (SELECT 1) SELECT * FROM a", "[ \" ' ` /* --",
		"SELECT json_each('[1]')", "SELECT printf('%*d', 99999999, 1)", "EXPLAIN SELECT 1", "SELECT * FROM sqlite_dbpage", "SELECT * FROM pragma_table_info('people')"} {
		f.Add(s)
	}
	want, err := db.Query("SELECT * FROM people")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ordered(s)
		if r, err := db.Query(s); err == nil && !r.Equal(r) {
			t.Errorf("%q differs from itself", s)
		}
		if got, err := db.Query("SELECT * FROM people"); err != nil || !want.Equal(got) {
			t.Fatalf("%q changed the people: %v", s, err)
		}
	})
}
