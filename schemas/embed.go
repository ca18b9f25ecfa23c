package schemas

import "embed"

// ImportPath is where pipelines import the schemas from.
const ImportPath = "github.com/hone-ml/hone/schemas"

// Files holds the CUE files of this package.
//
//go:embed *.cue
var Files embed.FS
