// Package sqlite runs queries that a model wrote.
//
//	DB      an SQLite file that nothing here can change
//	Result  the rows of a query, comparable with another's
//
// A query may read and nothing else: SQLite's authorizer lets SELECT, columns, functions and recursion through and refuses
// the rest (ATTACH, PRAGMA, temporary tables, load_extension) where the statement is compiled. It is bounded in steps of
// SQLite's virtual machine, which are the same on every machine and at every load, and besides in time, memory and rows.
//
// The library's C interface is called directly: its database/sql driver runs several statements at once and has the only
// place for a progress handler.
package sqlite

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

const (
	maxSteps   = 50_000_000       // of the virtual machine: about two seconds
	everySteps = 10_000           // between two looks at the clock
	maxTime    = 10 * time.Second // for single steps that are long (LIKE over large text)
	maxRows    = 100_000          // of a result
	maxBytes   = 32 << 20         // of a result, about
	maxText    = 1 << 20          // bytes of one value
	maxMemory  = 256 << 20        // of all open databases, in bytes; what is sorted stays in memory too
)

// configured sets up the library, once a process.
var configured = sync.OnceValue(func() error {
	tls := libc.NewTLS()
	defer tls.Close()
	args := libc.NewVaList(int32(1))
	defer libc.Xfree(tls, args)
	if rc := lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_MEMSTATUS, args); rc != lib.SQLITE_OK { // without it no limit holds
		return fmt.Errorf("sqlite: config: code %d", rc)
	}
	if rc := lib.Xsqlite3_initialize(tls); rc != lib.SQLITE_OK {
		return fmt.Errorf("sqlite: initialise: code %d", rc)
	}
	lib.Xsqlite3_hard_heap_limit64(tls, maxMemory)
	return nil
})

// DB is an SQLite file opened for reading. It is safe for concurrent use; queries run one at a time.
type DB struct {
	mu     sync.Mutex
	tls    *libc.TLS
	handle uintptr
	left   int64     // steps that the query under way may still take
	until  time.Time // when it is ended at the latest
}

// Open opens the file, or the one file of the folder, as it is: it must not change while it is open.
func Open(path string) (*DB, error) {
	path, err := file(path)
	if err != nil {
		return nil, err
	}
	if err := configured(); err != nil {
		return nil, err
	}
	db := &DB{tls: libc.NewTLS()}
	if err := db.open(path); err != nil {
		db.Close()
		return nil, err
	}
	if _, err := db.Query("SELECT count(*) FROM sqlite_master"); err != nil { // the header is read by the first query
		db.Close()
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return db, nil
}

// file finds the database: an artifact is a folder that holds it alone.
func file(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return "", err
		}
		if len(entries) != 1 || entries[0].IsDir() {
			return "", fmt.Errorf("the artifact holds %d files and folders where one SQLite file is wanted", len(entries))
		}
		path = filepath.Join(path, entries[0].Name())
		if info, err = os.Stat(path); err != nil {
			return "", err
		}
	}
	if info.Size() == 0 {
		return "", fmt.Errorf("%s is empty: no SQLite database", filepath.Base(path))
	}
	if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
		return "", fmt.Errorf("%s has changes in %s-wal that are not in it yet: PRAGMA wal_checkpoint(TRUNCATE) brings them in",
			filepath.Base(path), filepath.Base(path))
	}
	return filepath.Abs(path)
}

func (db *DB) open(path string) error {
	// immutable: no lock, no journal, no file beside it.
	name, err := libc.CString("file:" + (&url.URL{Path: path}).EscapedPath() + "?mode=ro&immutable=1")
	if err != nil {
		return err
	}
	defer libc.Xfree(db.tls, name)
	out := libc.Xcalloc(db.tls, 1, 8)
	defer libc.Xfree(db.tls, out)
	rc := lib.Xsqlite3_open_v2(db.tls, name, out, lib.SQLITE_OPEN_READONLY|lib.SQLITE_OPEN_URI|lib.SQLITE_OPEN_NOMUTEX, 0)
	db.handle = *(*uintptr)(at(out))
	if rc != lib.SQLITE_OK {
		return fmt.Errorf("%s: %w", filepath.Base(path), db.failure(rc))
	}
	for limit, value := range map[int32]int32{
		lib.SQLITE_LIMIT_LENGTH: maxText, lib.SQLITE_LIMIT_SQL_LENGTH: 100_000, lib.SQLITE_LIMIT_COLUMN: 500, lib.SQLITE_LIMIT_EXPR_DEPTH: 200,
		lib.SQLITE_LIMIT_COMPOUND_SELECT: 50, lib.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000, lib.SQLITE_LIMIT_ATTACHED: 0, lib.SQLITE_LIMIT_WORKER_THREADS: 0,
	} {
		lib.Xsqlite3_limit(db.tls, db.handle, limit, value)
	}
	// What is sorted stays in memory, where its size is bounded. Before the authorizer, which refuses it.
	pragma, err := libc.CString("PRAGMA temp_store = MEMORY")
	if err != nil {
		return err
	}
	defer libc.Xfree(db.tls, pragma)
	if rc := lib.Xsqlite3_exec(db.tls, db.handle, pragma, 0, 0, 0); rc != lib.SQLITE_OK {
		return db.failure(rc)
	}
	lib.Xsqlite3_set_authorizer(db.tls, db.handle, pointer(authorize), 0)
	opened.Store(db.handle, db)
	lib.Xsqlite3_progress_handler(db.tls, db.handle, everySteps, pointer(progress), db.handle)
	return nil
}

// Close closes the file.
func (db *DB) Close() {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.tls == nil {
		return
	}
	if db.handle != 0 {
		lib.Xsqlite3_close_v2(db.tls, db.handle)
		opened.Delete(db.handle)
	}
	db.tls.Close()
	db.tls, db.handle = nil, 0
}

// opened finds the DB of a handle, which is all that C hands to progress.
var opened sync.Map // uintptr → *DB

// progress ends the query under way, by returning 1, once it has taken its steps or its time.
func progress(_ *libc.TLS, handle uintptr) int32 {
	v, ok := opened.Load(handle)
	if !ok {
		return 1
	}
	db := v.(*DB)
	if db.left -= everySteps; db.left < 0 || time.Now().After(db.until) {
		return 1
	}
	return 0
}

// authorize lets a query read.
func authorize(_ *libc.TLS, _ uintptr, action int32, first, second, _, _ uintptr) int32 {
	switch action {
	case lib.SQLITE_SELECT, lib.SQLITE_READ, lib.SQLITE_RECURSIVE:
		return lib.SQLITE_OK
	case lib.SQLITE_FUNCTION:
		switch text(second) {
		case "load_extension", "random", "randomblob": // a score must not depend on chance
			return lib.SQLITE_DENY
		}
		return lib.SQLITE_OK
	case lib.SQLITE_PRAGMA: // full-text tables ask for it
		if text(first) == "data_version" && second == 0 {
			return lib.SQLITE_OK
		}
	}
	return lib.SQLITE_DENY
}

func text(p uintptr) string {
	if p == 0 {
		return ""
	}
	return libc.GoString(p)
}

// pointer is a Go function as the transpiled C calls it: the word that a func value is (golang.org/s/go11func).
func pointer[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&struct{ f F }{f})) }

// at is what an address of the transpiled C means: memory of its own allocator, which Go's collector neither moves nor frees.
func at(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

func (db *DB) failure(code int32) error {
	if code == lib.SQLITE_INTERRUPT {
		return errors.New("the query takes too long")
	}
	if db.handle == 0 {
		return fmt.Errorf("code %d", code)
	}
	return errors.New(text(lib.Xsqlite3_errmsg(db.tls, db.handle)))
}

// Query runs one statement.
func (db *DB) Query(query string) (*Result, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.tls == nil {
		return nil, errors.New("the database is closed")
	}
	db.left, db.until = maxSteps, time.Now().Add(maxTime)
	statement, err := db.prepare(query)
	if err != nil {
		return nil, err
	}
	defer lib.Xsqlite3_finalize(db.tls, statement)
	r := &Result{columns: int(lib.Xsqlite3_column_count(db.tls, statement)), ordered: ordered(query)}
	for size := 0; ; {
		switch rc := lib.Xsqlite3_step(db.tls, statement); rc {
		case lib.SQLITE_DONE:
			return r, nil
		case lib.SQLITE_ROW:
		default:
			return nil, db.failure(rc)
		}
		row := make([]string, r.columns)
		for i := range row {
			row[i] = db.value(statement, int32(i))
			size += len(row[i]) + 16
		}
		if r.rows = append(r.rows, row); len(r.rows) > maxRows || size > maxBytes {
			return nil, fmt.Errorf("the result has more than %d rows or %d bytes", maxRows, maxBytes)
		}
	}
}

// prepare compiles the statement, and refuses what follows it.
func (db *DB) prepare(query string) (statement uintptr, err error) {
	sql, err := libc.CString(query)
	if err != nil {
		return 0, err
	}
	defer libc.Xfree(db.tls, sql)
	out := libc.Xcalloc(db.tls, 2, 8)
	defer libc.Xfree(db.tls, out)
	for p := sql; ; {
		if rc := lib.Xsqlite3_prepare_v2(db.tls, db.handle, p, -1, out, out+8); rc != lib.SQLITE_OK {
			lib.Xsqlite3_finalize(db.tls, statement)
			return 0, db.failure(rc)
		}
		next, rest := *(*uintptr)(at(out)), *(*uintptr)(at(out + 8))
		switch {
		case next != 0 && statement != 0:
			lib.Xsqlite3_finalize(db.tls, next)
			lib.Xsqlite3_finalize(db.tls, statement)
			return 0, errors.New("more than one statement")
		case next != 0:
			statement = next
		}
		if text(rest) == "" {
			break
		}
		p = rest
	}
	if statement == 0 {
		return 0, errors.New("no statement")
	}
	return statement, nil
}

// value is a cell in a form in which equal values are equal strings: numbers by their value to twelve digits, so that 1 and
// 1.0 are one and sums in another order are too.
func (db *DB) value(statement uintptr, column int32) string {
	switch lib.Xsqlite3_column_type(db.tls, statement, column) {
	case lib.SQLITE_NULL:
		return "null"
	case lib.SQLITE_INTEGER:
		return fmt.Sprintf("n%d", int64(lib.Xsqlite3_column_int64(db.tls, statement, column)))
	case lib.SQLITE_FLOAT:
		x := lib.Xsqlite3_column_double(db.tls, statement, column)
		if whole := math.Round(x); math.Abs(x) < 1<<53 && math.Abs(x-whole) <= 1e-12*math.Max(1, math.Abs(x)) {
			return fmt.Sprintf("n%d", int64(whole))
		}
		return fmt.Sprintf("n%.12g", x)
	case lib.SQLITE_TEXT:
		p := lib.Xsqlite3_column_text(db.tls, statement, column)
		return "t" + bytesAt(p, lib.Xsqlite3_column_bytes(db.tls, statement, column))
	}
	p := lib.Xsqlite3_column_blob(db.tls, statement, column)
	return "b" + bytesAt(p, lib.Xsqlite3_column_bytes(db.tls, statement, column))
}

func bytesAt(p uintptr, n int32) string {
	if p == 0 || n == 0 {
		return ""
	}
	return string(unsafe.Slice((*byte)(at(p)), n))
}
