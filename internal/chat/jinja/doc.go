// Package jinja renders chat templates: the part of Jinja2 3.1 that transformers' sandboxed environment offers,
// with the semantics of Python's values, so that the bytes equal those of transformers.
//
//	Template  a parsed source (trim_blocks and lstrip_blocks on, loop controls, the generation tag)
//	Value     what an expression gives: None is nil; bool, int64, *big.Int, float64, string, and the types below
//	List, Tuple, Dict        Python's containers; a Dict keeps its insertion order
//	Undefined                what a missing name or attribute gives; using it for more than printing raises
//	Limits    what a render may take: time, bytes printed, bytes built
//	Span      bytes of the output between {% generation %} and {% endgeneration %}
//
// Why an interpreter of our own: engines for Go follow another dialect or are lenient where Python raises (missing
// attributes, None in arithmetic, loop scopes), and none can be stopped while it runs.
//
// Inside the package a failing evaluation panics with *Error, which Render and Parse turn into their result, as
// text/template does. Values are never changed by a template (the sandbox is the immutable one), so a Template and
// the values given to it may be used by many goroutines at once.
//
// Not modelled: Markup (escape and safe give plain strings), str.encode, and the filters random, urlize, xmlattr.
package jinja
