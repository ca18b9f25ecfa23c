package runner

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
)

// Invocation is what a run was asked for. Two that are equal differ in what they find alone.
type Invocation struct {
	Path        string // as the user wrote it
	Folder      string // the working folder
	Program     string // the file of this program
	Tags        []string
	Environment []string
	Options     Options
}

// name tells an invocation from any other, and this build of the program from others.
func (in *Invocation) name() (string, error) {
	o := &in.Options
	threads := runtime.GOMAXPROCS(0)
	if o.Threads > 0 {
		threads = o.Threads
	}
	var cue []string // what CUE's loader reads of the environment
	for _, v := range in.Environment {
		if strings.HasPrefix(v, "CUE_") {
			cue = append(cue, v)
		}
	}
	slices.Sort(cue)
	program, err := os.Stat(in.Program)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal([]any{
		in.Path, in.Folder, in.Program, program.Size(), program.ModTime().UnixNano(), o.Version,
		in.Tags, cue, o.Stages, o.Device, threads, o.Exact, o.cuda(),
	})
	return store.Sum(b), err
}

// memo is what a run came to that left nothing to do, and what it stood on. As long as that is the same, so is a run that is asked for
// the same: then nothing needs to be evaluated, keyed or looked up.
type memo struct {
	Reads    *pipelines.Reads
	Lock     string // hash of hone.lock, empty where there is none
	LockPath string
	Sources  []sourceSum
	Looks    store.Looks
	Pipeline string
	Advice   pipelines.Errors
	Names    []string
	Kinds    []string
	Stages   [][]byte // by stage: a remembered in JSON
}

type sourceSum struct{ Path, Hash string }

// remembered is what is told of a reused stage besides its name and kind.
type remembered struct {
	Plan    *StagePlan
	Config  json.RawMessage
	Outputs Outputs
	Metrics map[string]float64
}

// Unchanged is the result of a run where nothing that it stands on has changed since one that was asked for the same left nothing to
// do; nil where that cannot be told. Nothing is done, and all of it is told as by Run, with all of each stage if whole asks for it.
func Unchanged(st *store.Store, in *Invocation, advise func(pipelines.Errors), whole bool) *Result {
	if in == nil {
		return nil
	}
	name, err := in.name()
	if err != nil {
		return nil
	}
	var m memo
	if b := st.Memo(name); b == nil || gob.NewDecoder(bytes.NewReader(b)).Decode(&m) != nil {
		return nil
	}
	if st.Init() != nil {
		return nil
	}
	use, err := st.Use()
	if err != nil {
		return nil
	}
	defer use.Close()
	same, exactly := m.Reads.Same()
	if !same || !exactly && len(m.Advice) > 0 || fileSum(m.LockPath) != m.Lock {
		return nil
	}
	sources := in.Options.Sources
	if sources == nil {
		sources = st.Sources()
	}
	defer sources.Save()
	for _, src := range m.Sources {
		if hash, err := sources.Hash(src.Path); err != nil || hash != src.Hash {
			return nil
		}
	}
	if !st.Still(&m.Looks) {
		return nil
	}
	advise(m.Advice)
	return m.result(in.Options.Observe, whole)
}

// result tells of a run. Of stages other than evals, whose reports are shown, there is more than a name and a kind if whole asks for it.
func (m *memo) result(observe func(Update), whole bool) *Result {
	result := &Result{Pipeline: m.Pipeline}
	stages := make([]struct {
		result StageResult
		plan   StagePlan
	}, len(m.Names))
	for i, name := range m.Names {
		s := &stages[i]
		s.plan = StagePlan{Name: name, Kind: m.Kinds[i], Action: Reuse}
		s.result = StageResult{StagePlan: &s.plan, Status: Reused}
		var more remembered
		if (whole || s.plan.Kind == "eval") && json.Unmarshal(m.Stages[i], &more) == nil {
			s.plan = *more.Plan
			s.plan.Stage = &pipelines.Stage{Name: name, Kind: s.plan.Kind, Config: more.Config}
			s.result.Artifacts, s.result.Metrics = more.Outputs, more.Metrics
		}
		if s.result.Metrics == nil {
			s.result.Metrics = map[string]float64{}
		}
		result.Stages = append(result.Stages, &s.result)
		if observe != nil {
			observe(Update{Stage: &s.plan, Ended: &s.result})
		}
	}
	return result
}

// remember keeps what an ended run came to, where another like it would have nothing to do.
func (s *schedule) remember() error {
	r := s.r
	in := r.opts.Asked
	if in == nil || len(r.opts.Force) > 0 || r.graph.Reads == nil || r.graph.Reads.Unknown {
		return nil
	}
	m := memo{Reads: r.graph.Reads, LockPath: r.lock.path, Lock: fileSum(r.lock.path), Pipeline: r.graph.Name, Advice: r.graph.Advice}
	hashed := map[string]bool{}
	for _, n := range s.nodes {
		if st := n.result.Status; st != Reused && st != Ran && st != Resumed || len(n.result.Failures) > 0 {
			return nil
		}
		for _, src := range n.stage.Sources {
			if src.Hub == "" && !hashed[src.Path] {
				hashed[src.Path] = true
				m.Sources = append(m.Sources, sourceSum{src.Path, n.res.content[src.Field]})
			}
		}
		m.Names, m.Kinds = append(m.Names, n.stage.Name), append(m.Kinds, n.stage.Kind)
	}
	m.Stages = make([][]byte, len(s.nodes))
	looks := make([]store.Looks, len(s.nodes))
	differs := make([]bool, len(s.nodes))
	if err := store.Parallel(len(s.nodes), func(i int) (err error) {
		m.Stages[i], differs[i], err = s.rememberStage(s.nodes[i], &looks[i])
		return err
	}); err != nil || slices.Contains(differs, true) {
		return err
	}
	for _, l := range looks {
		m.Looks.Add(l)
	}
	if err := r.store.LookRef(&m.Looks, r.ref); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(m); err != nil {
		return err
	}
	name, err := in.name()
	if err != nil {
		return err
	}
	return r.store.Remember(name, b.Bytes())
}

// rememberStage is what is told of a stage when it is reused, and what its record and artifacts look like; differs where others would
// reuse another record.
func (s *schedule) rememberStage(n *node, l *store.Looks) (told []byte, differs bool, err error) {
	r, record := s.r, n.res.record
	if n.result.Status != Reused || record == nil {
		if err := r.lookup(n.stage, n.res); err != nil || n.res.record == nil {
			return nil, true, err
		}
		record = n.res.record
	}
	if !equal(record.Outputs, n.result.Artifacts) {
		return nil, true, nil
	}
	if err := r.store.Look(l, record); err != nil {
		return nil, false, err
	}
	told, err = json.Marshal(remembered{r.describe(n.stage, n.res), n.stage.Config, record.Outputs, record.Metrics})
	return told, false, err
}

// fileSum is of a small file's bytes, empty where there is none.
func fileSum(path string) string {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		return "?"
	}
	sum := sha256.Sum256(b)
	return string(sum[:])
}
