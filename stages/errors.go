package stages

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/hone-ml/hone/internal/job"
)

// Errorf is a failure at path (a file with its line, a row, a field). %w keeps the cause, and its code where it has one.
func Errorf(path, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	code := exitFailed
	var inner *job.Error
	if errors.As(err, &inner) && inner.Code != 0 {
		code = inner.Code
	}
	return &job.Error{Path: path, Message: err.Error(), Code: code, Err: err}
}

// Environment marks err as what the machine lacks (a program, a device, space): exit code 6.
func Environment(err error) error {
	var e *job.Error
	if errors.As(err, &e) {
		return &job.Error{Path: e.Path, Message: e.Message, Code: exitEnvironment, Err: err}
	}
	return &job.Error{Message: err.Error(), Code: exitEnvironment, Err: err}
}

// asError gives any error the form of the protocol. A full disk is the environment's wherever it shows.
func asError(err error) *job.Error {
	e := &job.Error{Message: err.Error(), Code: exitFailed, Err: err}
	var inner *job.Error
	if errors.As(err, &inner) {
		if error(inner) == err { //nolint:errorlint // err itself: where it wraps inner, its message says more
			e.Path, e.Message = inner.Path, inner.Message
		}
		if inner.Code != 0 {
			e.Code = inner.Code
		}
	}
	if diskFull(err) {
		e.Code = exitEnvironment
	}
	return e
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
