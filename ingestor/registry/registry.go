// Package registry finds Avro schemas by id: in a directory, or behind the HTTP interface of a schema registry.
//
// What a registry says is not trusted: answers are bounded in size and time, schemas are checked before they are used, and
// only so many are kept. A schema that was found stays; an id that is refused is asked for again after a while.
package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weir-dev/weir/ingestor/decode"
)

// Settings of a registry. Exactly one of URL and Directory is set.
type Settings struct {
	URL       string
	Directory string
	Timeout   time.Duration // of one request
	Client    *http.Client  // nil: one of its own
}

// Bounds of what is kept.
const (
	maxSchemas  = 1000 // that were found, and as many ids that were refused
	refusedFor  = 30 * time.Second
	maxBody     = decode.MaxAvroSchemaBytes + 4096
	maxAttempts = 4 // of a request that fails for now
	firstPause  = 100 * time.Millisecond
)

// ErrUnavailable says that the registry does not answer: whether there is such a schema is not known.
var ErrUnavailable = errors.New("the schema registry does not answer")

// Registry keeps the schemas that were found. It is safe for use by several goroutines at once.
type Registry struct {
	set Settings
	now func() time.Time

	fetching chan struct{} // has a token while one schema is fetched: they are few, and a flood of ids must not become one of requests

	mu      sync.RWMutex // guards what follows; never held over I/O
	found   map[uint32]*decode.AvroSchema
	refused map[uint32]refusal
	outage  refusal // the newest; until is when it was found
}

type refusal struct {
	why   error
	until time.Time
}

// New returns a registry without schemas.
func New(s Settings) *Registry {
	if s.Client == nil {
		s.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &Registry{set: s, now: time.Now, fetching: make(chan struct{}, 1), found: map[uint32]*decode.AvroSchema{}, refused: map[uint32]refusal{}}
}

// Lookup returns a schema that was fetched, why there is none, or decode.ErrSchemaUnknown.
func (r *Registry) Lookup(id uint32) (*decode.AvroSchema, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if s := r.found[id]; s != nil {
		return s, nil
	}
	if no, ok := r.refused[id]; ok {
		return nil, no.why
	}
	return nil, decode.ErrSchemaUnknown
}

// Fetch makes Lookup know the id. Errors: ErrUnavailable; that of ctx. Callers take turns; when the registry does not answer one
// of them, those who wait are not kept waiting for the same. That there is no such schema is no error of Fetch.
func (r *Registry) Fetch(ctx context.Context, id uint32) error {
	if r.known(id) {
		return nil
	}
	began := r.now()
	select {
	case r.fetching <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.fetching }()
	if r.known(id) {
		return nil
	}
	if err := r.outageSince(began); err != nil {
		return err
	}
	s, err := r.fetch(ctx, id)
	if ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(err, ErrUnavailable) {
		r.outage = refusal{err, r.now()}
		return err
	}
	if err == nil && len(r.found) >= maxSchemas {
		err = fmt.Errorf("more than %d schemas are in use: start the pipeline again, or use fewer", maxSchemas)
	}
	if err == nil {
		delete(r.refused, id)
		r.found[id] = s
		return nil
	}
	if len(r.refused) >= maxSchemas {
		clear(r.refused)
	}
	r.refused[id] = refusal{err, r.now().Add(refusedFor)}
	return nil
}

// outageSince is what was found out about the registry while the caller waited for its turn, if that was no answer: of many who
// wait, each would otherwise find it out once more, one after the other.
func (r *Registry) outageSince(began time.Time) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.outage.why != nil && r.outage.until.After(began) {
		return r.outage.why
	}
	return nil
}

// known says whether Lookup has an answer that still holds.
func (r *Registry) known(id uint32) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.found[id] != nil {
		return true
	}
	no, ok := r.refused[id]
	return ok && r.now().Before(no.until)
}

func (r *Registry) fetch(ctx context.Context, id uint32) (*decode.AvroSchema, error) {
	var text []byte
	var err error
	if r.set.Directory != "" {
		text, err = r.file(id)
	} else {
		text, err = r.ask(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	return decode.NewAvroSchema(text)
}

// file reads the file of an id; it may be named with or without .avsc or .json.
func (r *Registry) file(id uint32) ([]byte, error) {
	name := filepath.Join(r.set.Directory, strconv.FormatUint(uint64(id), 10))
	for _, end := range []string{".avsc", ".json", ""} {
		f, err := os.Open(name + end)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		defer f.Close() //nolint:errcheck // it is only read
		b, err := io.ReadAll(io.LimitReader(f, maxBody))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return b, nil
	}
	return nil, errors.New("there is no file " + name + ".avsc")
}

// ask gets a schema over HTTP; what fails for now is tried again.
func (r *Registry) ask(ctx context.Context, id uint32) (text []byte, err error) {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		text, err = r.get(ctx, id)
		if !errors.Is(err, ErrUnavailable) || attempt == maxAttempts {
			return text, err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
		pause *= 2
	}
}

// passing are answers that say nothing about the schema: records are not refused because of them, since that could not be taken
// back when somebody has mended the credentials.
var passing = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooManyRequests}

// answer is what a registry says of an id.
type answer struct {
	Schema     string            `json:"schema"`
	SchemaType string            `json:"schemaType"` // empty: AVRO
	ID         *uint32           `json:"id"`
	References []json.RawMessage `json:"references"`
}

func (r *Registry) get(ctx context.Context, id uint32) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, r.set.Timeout)
	defer cancel()
	url := strings.TrimSuffix(r.set.URL, "/") + "/schemas/ids/" + strconv.FormatUint(uint64(id), 10)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/vnd.schemaregistry.v1+json, application/json")
	res, err := r.set.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer res.Body.Close() //nolint:errcheck // it was read, or is given up
	switch {
	case res.StatusCode == http.StatusNotFound:
		return nil, errors.New("the registry does not know it")
	case res.StatusCode >= 500 || slices.Contains(passing, res.StatusCode):
		return nil, fmt.Errorf("%w: %s", ErrUnavailable, res.Status)
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the registry answers %s", res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case len(body) > maxBody:
		return nil, fmt.Errorf("the registry's answer has more than %d bytes", maxBody)
	}
	return schemaIn(body, id)
}

// schemaIn checks an answer and returns the text of the schema in it.
func schemaIn(body []byte, id uint32) ([]byte, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, errors.New("the registry's answer is not the JSON of a schema")
	}
	switch {
	case a.ID != nil && *a.ID != id:
		return nil, fmt.Errorf("the registry answers with schema %d", *a.ID)
	case a.SchemaType != "" && a.SchemaType != "AVRO":
		return nil, fmt.Errorf("it is of type %.20q, no Avro schema", a.SchemaType)
	case len(a.References) > 0:
		return nil, errors.New("it refers to other schemas, which is not taken: register it with all its types")
	case a.Schema == "":
		return nil, errors.New("the registry's answer has no schema")
	}
	return []byte(a.Schema), nil
}
