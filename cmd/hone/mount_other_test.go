//go:build !linux

package main

import "errors"

func mountTmpfs(string, string) error { return errors.New("only Linux has tmpfs") }

func unmount(string) {}

func remountReadOnly(string) error { return errors.New("only Linux has tmpfs") }
