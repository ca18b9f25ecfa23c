package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// statusError is an answer of the hub that is not what was asked for.
type statusError struct {
	status  int
	code    string // X-Error-Code: RepoNotFound, RevisionNotFound, EntryNotFound, GatedRepo
	wait    time.Duration
	message string
}

func (e *statusError) Error() string { return e.message }

// networkError is no answer at all.
type networkError struct {
	host string
	err  error
}

func (e *networkError) Error() string {
	return fmt.Sprintf("%s does not answer: %v: check the network; HF_ENDPOINT names another hub", e.host, e.err)
}
func (e *networkError) Unwrap() error { return e.err }

// unreachable tells whether err means that the hub did not answer, so that a cached copy may serve.
func unreachable(ctx context.Context, err error) bool {
	var network *networkError
	var status *statusError
	return ctx.Err() == nil && (errors.As(err, &network) || errors.As(err, &status) && status.status >= 500)
}

// maxRedirects is how many are followed.
const maxRedirects = 8

// send makes a request and follows redirects; where stop is set it returns a redirect to another host as it is.
// The answer's body is the caller's to close. repository is for messages.
func (c *Client) send(ctx context.Context, method, address, repository string, header http.Header, stop bool) (*http.Response, error) {
	home, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, err
	}
	for range maxRedirects {
		request, err := http.NewRequestWithContext(ctx, method, address, nil)
		if err != nil {
			return nil, fmt.Errorf("hf://%s: the hub gave a location that is no URL", repository)
		}
		if s := request.URL.Scheme; s != "http" && s != "https" {
			return nil, fmt.Errorf("hf://%s: the hub redirects to scheme %q", repository, s)
		}
		for k, v := range header {
			request.Header[k] = v
		}
		request.Header.Set("User-Agent", "hone")
		// Without this the transport would decompress, and sizes and ranges would be of something else.
		request.Header.Set("Accept-Encoding", "identity")
		if c.token != "" && request.URL.Scheme == home.Scheme && request.URL.Host == home.Host {
			request.Header.Set("Authorization", "Bearer "+c.token)
		}
		response, err := c.http.Do(request)
		if err != nil {
			// The URL of a redirect carries a signature: only the host is said.
			var u *url.Error
			if errors.As(err, &u) {
				err = u.Err
			}
			return nil, &networkError{request.URL.Host, err}
		}
		location, redirected := response.Header.Get("Location"), response.StatusCode >= 300 && response.StatusCode < 400
		if !redirected || location == "" {
			return response, nil
		}
		next, err := request.URL.Parse(location)
		if err != nil {
			response.Body.Close()
			return nil, fmt.Errorf("hf://%s: the hub gave a location that is no URL", repository)
		}
		if stop && next.Host != request.URL.Host {
			return response, nil
		}
		response.Body.Close()
		address = next.String()
	}
	return nil, fmt.Errorf("hf://%s: more than %d redirects", repository, maxRedirects)
}

// retry calls f again where its error may pass: no answer, a server's fault, too many requests.
func (c *Client) retry(ctx context.Context, f func() error) error {
	wait := c.Wait
	for attempt := 0; ; attempt++ {
		err := f()
		pause := wait
		var status *statusError
		var network *networkError
		switch {
		case err == nil || ctx.Err() != nil:
			return errors.Join(ctx.Err(), err)
		case errors.As(err, &status):
			if status.status != http.StatusTooManyRequests && status.status < 500 && status.status != http.StatusRequestTimeout {
				return err
			}
			pause = max(pause, min(status.wait, time.Minute))
		case !errors.As(err, &network):
			return err
		}
		if attempt >= c.Retries {
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		wait *= 2
	}
}

// check turns an answer that is not one of want into an error that says what to do. It closes the body then.
func (c *Client) check(response *http.Response, repository, what string, want ...int) error {
	for _, status := range want {
		if response.StatusCode == status {
			return nil
		}
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16)) // a body read to its end frees the connection
	response.Body.Close()
	e := &statusError{status: response.StatusCode, code: response.Header.Get("X-Error-Code")}
	if s, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && s > 0 {
		e.wait = time.Duration(s) * time.Second
	}
	page := c.Endpoint + "/" + repository
	login := "set HF_TOKEN to a token of " + c.Endpoint + "/settings/tokens, or run `hf auth login`"
	switch {
	case e.code == "GatedRepo" && c.token == "":
		e.message = "gated: ask for access at " + page + ", then " + login
	case e.code == "GatedRepo":
		e.message = "gated, and this account has no access: ask for it at " + page
	case e.status == 401 && c.token == "":
		e.message = "no such model, or it is private: check the name, or " + login
	case e.status == 401:
		e.message = "no such model, or the token does not open it: check the name and HF_TOKEN"
	case e.status == 403:
		e.message = "forbidden: the token lacks read access to " + page
	case e.code == "RevisionNotFound":
		e.message = "no such revision: see " + page + "/commits"
	case e.status == 404:
		e.message = "not found: see " + page
	case e.status == 429:
		e.message = "too many requests: wait a while, or " + login
	default:
		e.message = fmt.Sprintf("the hub answers %s", response.Status)
	}
	e.message = what + ": " + e.message
	return e
}

// repositoryInfo is the hub's description of a revision.
type repositoryInfo struct {
	SHA      string `json:"sha"`
	Siblings []struct {
		Name string `json:"rfilename"`
	} `json:"siblings"`
}

// maxInfo bounds the description: a repository of 100,000 files has 10 MB.
const maxInfo = 64 << 20

func (c *Client) info(ctx context.Context, repository, revision string) (*repositoryInfo, error) {
	what := "hf://" + repository + "@" + revision
	address := c.Endpoint + "/api/models/" + repository + "/revision/" + url.PathEscape(revision)
	var info repositoryInfo
	err := c.retry(ctx, func() error {
		response, err := c.send(ctx, http.MethodGet, address, repository, nil, false)
		if err != nil {
			return err
		}
		if err := c.check(response, repository, what, http.StatusOK); err != nil {
			return err
		}
		defer response.Body.Close()
		b, err := io.ReadAll(io.LimitReader(response.Body, maxInfo))
		if err != nil {
			return &networkError{response.Request.URL.Host, err}
		}
		if err := json.Unmarshal(b, &info); err != nil {
			return fmt.Errorf("%s: the hub's description: %w", what, err)
		}
		return nil
	})
	var network *networkError
	if errors.As(err, &network) {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if err != nil {
		return nil, err
	}
	if !IsCommit(info.SHA) {
		return nil, fmt.Errorf("%s: the hub names no commit", what)
	}
	return &info, nil
}
