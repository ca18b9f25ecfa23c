package main

import (
	"errors"
	"testing"
)

func TestSaid(t *testing.T) {
	for text, want := range map[string]string{
		`blob (code=Unknown): operation error S3: PutObject, https response error StatusCode: 403, RequestID: x, api error InvalidAccessKeyId: The key is unknown`: "InvalidAccessKeyId: The key is unknown",
		"(code=Unknown): Get \"https://storage.googleapis.com/b?x=1\": no\nroute":                                                                                  "no route",
		"operation error S3: ListObjectsV2, Invalid region: none":                                                                                                  "Invalid region: none ?region=… or AWS_REGION names it",
	} {
		if got := said(errors.New(text)); got != want {
			t.Errorf("%q is said as %q, want %q", text, got, want)
		}
	}
}
