package provenance

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/secure-systems-lab/go-securesystemslib/signerverifier"

	"github.com/hone-ml/hone/internal/bounded"
)

// PayloadType is what an envelope of a statement says that it holds.
const PayloadType = "application/vnd.in-toto+json"

// keyLimit is many times the size of a key file.
const keyLimit = 1 << 20

// ErrPassword is that of a key file which another password, or none, opens.
var ErrPassword = errors.New("the password does not open it")

// PrivateKey reads a file with a private key: cosign's (cosign.key), whose password is asked for, or PKCS #8 in PEM without one.
func PrivateKey(path string, password func() ([]byte, error)) (dsse.SignerVerifier, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	der := block.Bytes
	switch block.Type {
	case "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY":
		secret, err := password()
		if err != nil {
			return nil, err
		}
		if !json.Valid(der) {
			return nil, fmt.Errorf("%s: not a key that cosign wrote", path)
		}
		if der, err = encrypted.Decrypt(der, secret); err != nil {
			return nil, fmt.Errorf("%s: %w", path, ErrPassword)
		}
	case "PRIVATE KEY":
	case "PUBLIC KEY":
		return nil, fmt.Errorf("%s: a public key: it verifies and does not sign", path)
	case "ENCRYPTED PRIVATE KEY":
		return nil, fmt.Errorf("%s: PKCS #8 with a password is not read: cosign import-key-pair makes a cosign.key of it", path)
	default:
		return nil, fmt.Errorf("%s: a %s, not a private key (cosign.key, or PKCS #8 in PEM)", path, block.Type)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: not a private key in PKCS #8", path)
	}
	switch key.(type) {
	case ed25519.PrivateKey, *ecdsa.PrivateKey:
	default:
		return nil, fmt.Errorf("%s: %T: only ed25519 and ECDSA keys sign", path, key)
	}
	return keyOfPEM(path, "PRIVATE KEY", der)
}

// PublicKey reads a file with a public key in PEM, as cosign and openssl write it: ed25519 or ECDSA.
func PublicKey(path string) (dsse.SignerVerifier, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	if block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("%s: a %s, not a public key", path, block.Type)
	}
	return keyOfPEM(path, block.Type, block.Bytes)
}

func readPEM(path string) (*pem.Block, error) {
	b, err := bounded.ReadFile(path, keyLimit)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: not a key in PEM", path)
	}
	return block, nil
}

func keyOfPEM(path, kind string, der []byte) (dsse.SignerVerifier, error) {
	key, err := signerverifier.LoadKey(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch key.KeyType {
	case signerverifier.ED25519KeyType:
		return signerverifier.NewED25519SignerVerifierFromSSLibKey(key)
	case signerverifier.ECDSAKeyType:
		return signerverifier.NewECDSASignerVerifierFromSSLibKey(key)
	}
	return nil, fmt.Errorf("%s: a key of type %s: only ed25519 and ECDSA keys verify", path, key.KeyType)
}

// keyID is the sha256 of a public key in DER (SubjectPublicKeyInfo).
func keyID(key dsse.SignerVerifier) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// Bundle is statements as the bytes of a .intoto.jsonl file: each as it is, or in an envelope where there is a key.
func Bundle(all []Statement, key dsse.SignerVerifier) ([]byte, error) {
	lines, err := Lines(all)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, line := range lines {
		if key != nil {
			signer, err := dsse.NewEnvelopeSigner(key)
			if err != nil {
				return nil, err
			}
			envelope, err := signer.SignPayload(context.Background(), PayloadType, line)
			if err != nil {
				return nil, err
			}
			envelope.Signatures[0].KeyID = "" // as cosign leaves it: others make it in their own ways, and pass over a key whose name differs
			if line, err = json.Marshal(envelope); err != nil {
				return nil, err
			}
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}
