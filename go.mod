module github.com/hone-ml/hone

go 1.27.0

require (
	cuelang.org/go v0.17.1
	github.com/ardanlabs/jinja v1.11.0
	github.com/daulet/tokenizers v1.24.0
	github.com/google/go-cmp v0.7.0
	github.com/parquet-go/parquet-go v0.32.0
	github.com/rogpeppe/go-internal v1.16.0
	github.com/rs/zerolog v1.35.1
	github.com/schollz/progressbar/v3 v3.19.1
	github.com/spf13/cobra v1.10.2
	github.com/sugarme/gotch v0.9.1
	github.com/zeebo/blake3 v0.2.4
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.47.0
)
