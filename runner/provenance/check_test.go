package provenance

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// keyFiles writes a pair of key files as cosign generate-key-pair does, with that password, and the private key without one.
func keyFiles(t *testing.T, private crypto.Signer, password string) (sealed, bare, public string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	var box []byte
	if password != "" { // which takes its time
		if box, err = encrypted.EncryptWithCustomKDFParameters(der, []byte(password), encrypted.Legacy); err != nil {
			t.Fatal(err)
		}
	}
	pub, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sealed, bare, public = filepath.Join(dir, "cosign.key"), filepath.Join(dir, "bare.pem"), filepath.Join(dir, "cosign.pub")
	for path, block := range map[string]pem.Block{
		sealed: {Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: box}, bare: {Type: "PRIVATE KEY", Bytes: der}, public: {Type: "PUBLIC KEY", Bytes: pub},
	} {
		write(t, path, string(pem.EncodeToMemory(&block)))
	}
	return sealed, bare, public
}

func ellipticKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func edwardsKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func secret(s string) func() ([]byte, error) { return func() ([]byte, error) { return []byte(s), nil } }

// A bundle that one key signed is of that key alone, and each line is a DSSE envelope as its specification has it.
func TestSign(t *testing.T) {
	h, made := tuned(t)
	all := traced(t, h, made).Statements(exported.Files, nil)
	_, _, other := keyFiles(t, edwardsKey(t), "")
	for name, private := range map[string]crypto.Signer{"ECDSA": ellipticKey(t), "ed25519": edwardsKey(t)} {
		sealed, bare, public := keyFiles(t, private, "pass word")
		for _, file := range []string{sealed, bare} {
			key, err := PrivateKey(file, secret("pass word"))
			if err != nil {
				t.Fatal(err)
			}
			b, err := Bundle(all, key)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), File)
			write(t, path, string(b))
			pub, err := PublicKey(public)
			if err != nil {
				t.Fatal(err)
			}
			p, err := ReadProvenance(path, pub)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if d := cmp.Diff(exported.Files, p.Files); d != "" || !p.Signed || p.KeyID == "" || p.Stage != "tune" || p.Kind != "train.sft" {
				t.Errorf("%s: %s (%s), signed %v by %q: %s", name, p.Stage, p.Kind, p.Signed, p.KeyID, d)
			}
			if p, err := ReadProvenance(path, nil); err != nil || !p.Signed || p.KeyID != "" {
				t.Errorf("%s: without a key: %v", name, err)
			}
			wrong, err := PublicKey(other)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ReadProvenance(path, wrong); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: with another key: %v", name, err)
			}
			verifyByHand(t, private.Public(), b)
		}
	}
}

// verifyByHand is DSSE without its library: the signature is of "DSSEv1", and the lengths and bytes of type and payload.
func verifyByHand(t *testing.T, public crypto.PublicKey, bundle []byte) {
	t.Helper()
	for line := range bytes.Lines(bundle) {
		var e struct {
			PayloadType, Payload string
			Signatures           []struct{ Sig string }
		}
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		payload, err := base64.StdEncoding.DecodeString(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
		if err != nil {
			t.Fatal(err)
		}
		said := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(e.PayloadType), e.PayloadType, len(payload), payload)
		ok := false
		switch key := public.(type) {
		case ed25519.PublicKey:
			ok = ed25519.Verify(key, said, sig)
		case *ecdsa.PublicKey:
			sum := sha256.Sum256(said)
			ok = ecdsa.VerifyASN1(key, sum[:], sig)
		}
		if !ok {
			t.Errorf("not a signature of %s", payload)
		}
	}
}

func TestKeysRefused(t *testing.T) {
	sealed, bare, public := keyFiles(t, ellipticKey(t), "right")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, rsaBare, rsaPublic := keyFiles(t, rsaKey, "")
	dir := t.TempDir()
	file := func(name, text string) string {
		write(t, filepath.Join(dir, name), text)
		return filepath.Join(dir, name)
	}
	block := func(kind, text string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(text)}))
	}
	for path, want := range map[string]string{
		public:                "a public key: it verifies and does not sign",
		rsaBare:               "only ed25519 and ECDSA keys sign",
		file("empty", ""):     "not a key in PEM",
		file("text", "hello"): "not a key in PEM",
		file("big", strings.Repeat("x", keyLimit+1)):                    "over 1 MiB",
		file("torn", block("PRIVATE KEY", "torn")):                      "not a private key in PKCS #8",
		file("box", block("ENCRYPTED SIGSTORE PRIVATE KEY", "no JSON")): "not a key that cosign wrote",
		file("kdf", block("ENCRYPTED SIGSTORE PRIVATE KEY", `{"kdf": {"name": "scrypt", "params": {"N": 1099511627776, "r": 8, "p": 1}}}`)): "the password does not open it",
		file("other", block("CERTIFICATE", "x")):           "a CERTIFICATE, not a private key",
		file("pkcs5", block("ENCRYPTED PRIVATE KEY", "x")): "cosign import-key-pair",
		filepath.Join(dir, "nothing"):                      "no such file",
		dir:                                                "is a directory",
	} {
		if _, err := PrivateKey(path, secret("right")); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if _, err := PrivateKey(sealed, secret("wrong")); !errors.Is(err, ErrPassword) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong password: %v", err)
	}
	none := errors.New("no terminal")
	if _, err := PrivateKey(sealed, func() ([]byte, error) { return nil, none }); !errors.Is(err, none) {
		t.Errorf("no password: %v", err)
	}
	if _, err := PrivateKey(bare, func() ([]byte, error) { t.Error("asked for the password of a bare key"); return nil, nil }); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]string{bare: "a PRIVATE KEY, not a public key", sealed: "not a public key", rsaPublic: "only ed25519 and ECDSA keys verify"} {
		if _, err := PublicKey(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// folder is an exported folder with its provenance, signed where there is a key.
func folder(t *testing.T, files ...string) (dir string, p *Provenance) {
	t.Helper()
	h, made := tuned(t)
	dir = t.TempDir()
	for _, f := range files {
		name, text, _ := strings.Cut(f, ":")
		write(t, filepath.Join(dir, name), text)
	}
	found, problems, err := Files(t.Context(), dir, nil, nil)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	b, err := Bundle(traced(t, h, made).Statements(nil, &Exported{Files: found}), nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, File), string(b))
	p, err = ReadProvenance(filepath.Join(dir, File), nil)
	if err != nil {
		t.Fatal(err)
	}
	return dir, p
}

func TestCheck(t *testing.T) {
	dir, p := folder(t, "a:one", "b/c:two", "b/d:three", "e:", "gone:four", "moved:five")
	if p.Stage != "tune" || p.Pipeline != "p" || len(p.Key) != 64 {
		t.Errorf("made by %s/%s, %s", p.Pipeline, p.Stage, p.Key)
	}
	check := func() string {
		t.Helper()
		problems, err := p.Check(t.Context(), dir, File, nil)
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, problem := range problems {
			said = append(said, problem.Path+": "+problem.What)
		}
		return strings.Join(said, "\n")
	}
	write(t, filepath.Join(dir, ".git/config"), "of git's")
	write(t, filepath.Join(dir, ".cache/huggingface/.gitignore"), "of the client's")
	write(t, filepath.Join(dir, ".gitattributes"), "of the hub's")
	if got := check(); got != "" {
		t.Errorf("as it was written: %s", got)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	write(t, outside, "three")
	write(t, filepath.Join(dir, "a"), "One")
	write(t, filepath.Join(dir, "extra.bin"), "pickle")
	write(t, filepath.Join(dir, "e.d/f"), "")
	write(t, filepath.Join(dir, "no\xffword/f"), "")
	write(t, filepath.Join(dir, "no\xffname"), "")
	for _, err := range []error{
		os.Remove(filepath.Join(dir, "gone")), os.Rename(filepath.Join(dir, "moved"), filepath.Join(dir, "renamed")),
		os.Remove(filepath.Join(dir, "b/d")), os.Symlink(outside, filepath.Join(dir, "b/d")), os.Symlink(dir, filepath.Join(dir, "loop")),
		os.Remove(filepath.Join(dir, "e")), syscall.Mkfifo(filepath.Join(dir, "e"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := `a: changed
b/d: a link, not a file
e: not a regular file
e.d/f: not in the provenance
extra.bin: not in the provenance
gone: missing
loop: a link, not a file
moved: missing; its bytes are in renamed
` + "no\xffname: not in the provenance\nno\xffword: cannot be read: invalid argument\n" + `renamed: not in the provenance`
	if d := cmp.Diff(want, check()); d != "" {
		t.Error(d)
	}
}

func TestCheckUnreadable(t *testing.T) {
	dir, p := folder(t, "a:one", "b/c:two")
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	for _, path := range []string{"a", "b"} {
		if err := os.Chmod(filepath.Join(dir, path), 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "b"), 0o755) })
	problems, err := p.Check(t.Context(), dir, File, nil)
	if err != nil || !slices.Contains(problems, Problem{"a", "cannot be read: permission denied"}) {
		t.Error(problems, err)
	}
}

func TestCheckInterrupted(t *testing.T) {
	dir, p := folder(t, "a:one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Check(ctx, dir, File, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What cannot be believed is refused before a file of the folder is looked at.
func TestHostileProvenance(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	subject := func(names ...string) string {
		var all []string
		for _, name := range names {
			all = append(all, fmt.Sprintf(`{"name": %s, "digest": {"sha256": %q}}`, name, sum))
		}
		return fmt.Sprintf(`{"_type": %q, "subject": [%s], "predicateType": %q, "predicate": {}}`, StatementType, strings.Join(all, ","), PredicateType)
	}
	good := subject(`"a"`)
	envelope := func(kind, payload, signatures string) string {
		return fmt.Sprintf(`{"payloadType": %q, "payload": %q, "signatures": %s}`, kind, base64.StdEncoding.EncodeToString([]byte(payload)), signatures)
	}
	for text, want := range map[string]string{
		"":                            "no statement in it",
		"\n\n":                        "no statement in it",
		good[:len(good)/2]:            ":1: not JSON",
		good + "\n" + good[:9] + "\n": ":2: not JSON",
		"\x00\x01\x02":                "not JSON",
		"[]":                          "not JSON",
		"{}":                          "not an in-toto statement",
		`{"_type": 3}`:                "not a statement",
		strings.Repeat("[", 100_000):  "not JSON",
		strings.Replace(good, StatementType, "https://in-toto.io/Statement/v0.1", 1):        "not an in-toto statement v1",
		strings.Replace(good, PredicateType, "https://slsa.dev/verification_summary/v1", 1): "not SLSA provenance v1",
		strings.Replace(good, `"subject"`, `"_type": "x", "subject"`, 1):                    "duplicate",
		strings.Replace(good, `"sha256"`, `"sha256": "00", "sha256"`, 1):                    "duplicate",
		strings.Replace(good, sum, "AB12", 1):                                               "not a sha256",
		strings.Replace(good, sum, sum+sum, 1):                                              "not a sha256",
		subject():                                                                           "no subject",
		subject(`"a"`, `"a"`):                                                               `subject "a" twice`,
		subject(`"../a"`):                                                                   "not a path inside",
		subject(`"b/../../a"`):                                                              "not a path inside",
		subject(`"b/../a"`):                                                                 "not a path inside",
		subject(`"./a"`):                                                                    "not a path inside",
		subject(`"/etc/passwd"`):                                                            "not a path inside",
		subject(`"a//b"`):                                                                   "not a path inside",
		subject(`"a/"`):                                                                     "not a path inside",
		subject(`""`):                                                                       "not a path inside",
		subject(`"a\\b"`):                                                                   "not a path inside",
		subject(`"a\u0000"`):                                                                "not a path inside",
		envelope("text/plain", good, `[{"sig": "AA=="}]`):                                   "an envelope of",
		envelope(PayloadType, good[:9], `[{"sig": "AA=="}]`):                                "not a statement",
		`{"payloadType": "` + PayloadType + `", "payload": "!", "signatures": [{"sig": "AA=="}]}`: "not base64",
		envelope(PayloadType, envelope(PayloadType, good, `[]`), `[{"sig": "AA=="}]`):             "not an in-toto statement",
		strings.Repeat(" ", fileLimit) + good:                                                     "over 64 MiB",
	} {
		path := filepath.Join(t.TempDir(), File)
		write(t, path, text)
		_, err := ReadProvenance(path, nil)
		_, ok := errors.AsType[*Malformed](err)
		if !ok || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), path) != 1 || len(err.Error()) > len(path)+300 {
			t.Errorf("%.200s: %v, want %q", text, err, want)
		}
	}
}

// With a key every line must have its signature: one without, or one that was signed as something else, lets nothing through.
func TestSignatureOfEveryLine(t *testing.T) {
	h, made := tuned(t)
	all := traced(t, h, made).Statements(exported.Files, nil)
	_, bare, public := keyFiles(t, edwardsKey(t), "")
	key, err := PrivateKey(bare, nil)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := PublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := Bundle(all, key)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Bundle(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	anothers := strings.ReplaceAll(string(signed), `"keyid":""`, `"keyid":"another tool's name of the key"`)
	path := filepath.Join(t.TempDir(), File)
	write(t, path, anothers)
	if _, err := ReadProvenance(path, pub); err != nil {
		t.Errorf("another tool's name of the key: %v", err)
	}
	first := func(b []byte) string { line, _, _ := bytes.Cut(b, []byte("\n")); return string(line) + "\n" }
	rest := func(b []byte) string { _, rest, _ := bytes.Cut(b, []byte("\n")); return string(rest) }
	swapped := func() string { // the payload of one line beneath the signature of another
		var a, b map[string]any
		_ = json.Unmarshal([]byte(first(signed)), &a)
		_ = json.Unmarshal([]byte(first([]byte(rest(signed)))), &b)
		a["payload"] = b["payload"]
		line, _ := json.Marshal(a)
		return string(line) + "\n"
	}
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"plain":           {string(plain), ErrUnsigned},
		"one plain":       {first(signed) + rest(plain), ErrUnsigned},
		"plain first":     {first(plain) + rest(signed), ErrUnsigned},
		"another payload": {swapped(), ErrSignature},
		"no signatures":   {strings.Replace(first(signed), `"signatures":[`, `"signatures":[],"x":[`, 1), ErrUnsigned},
		"torn signature":  {strings.Replace(first(signed), `"sig":"`, `"sig":"AAAA`, 1), ErrSignature},
		"another type":    {strings.Replace(first(signed), PayloadType, "application/json", 1), nil},
	} {
		path := filepath.Join(t.TempDir(), File)
		write(t, path, c.text)
		if _, err := ReadProvenance(path, pub); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzReadProvenance(f *testing.F) {
	f.Add([]byte(`{"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "a", "digest": {"sha256": "00"}}]}`))
	f.Add([]byte(`{"payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": [{"sig": "AA=="}]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, fmt.Sprint(len(b)))
		write(t, path, string(b))
		p, err := ReadProvenance(path, nil)
		if err != nil {
			return
		}
		for _, file := range p.Files {
			if !filepath.IsLocal(file.Name) {
				t.Errorf("%q was let through", file.Name)
			}
		}
	})
}
