// Package pipelines is what was said: it loads a pipeline's CUE and compiles it to a graph.
//
//	pipeline  a CUE package that embeds schemas.#Pipeline
//	stage     a node: a kind, its configuration with defaults filled, what it reads and what it makes
//	edge      an out port of a stage, as a value in a field of another
//	source    a user's file, folder or hub name, said in a field of a stage
//	field     a leaf of a configuration, with the place where the user wrote it
//
// Load evaluates the CUE once, against schemas that wire the edges and judge nothing else, so that a mistake in one
// stage does not hide those of the stages that read it. Compile then holds each stage against its kind's definition
// and reports everything it finds, in the user's files.
package pipelines
