package store

import "os"

// smokeFolder is what of a store belongs to smokes: smoke/records/<key>/<numerics>/ and smoke/checkpoints/<key>/. Objects and
// trees are everybody's. No ref leads to a smoke's artifacts, so GC frees them, and the folder with them.
const smokeFolder = "smoke"

// Smoke is the store as a smoke uses it. It reuses what any run made, but what it makes is reused by smokes alone: records that
// say so are kept apart, and so are all checkpoints.
func (s *Store) Smoke() *Store {
	return &Store{Dir: s.Dir, smoke: true, sync: syncer{dir: s.Dir}, verified: map[identity]string{}}
}

// recordsOf is the folder of records: those of smokes, or those that count.
func recordsOf(smoke bool) string {
	if smoke {
		return smokeFolder + "/records"
	}
	return "records"
}

func (s *Store) sweepSmokes(freed *Freed) error {
	dir := s.path(smokeFolder)
	freed.Bytes += diskUse(dir)
	if freed.DryRun {
		return nil
	}
	return os.RemoveAll(dir)
}
