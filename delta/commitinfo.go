package delta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// CommitInfo is the provenance of a commit. The protocol leaves its content to the writer, so reading it is lenient: a
// member of an unexpected type is left in Other.
type CommitInfo struct {
	Version           int64                      // of the commit; not stored in it
	Timestamp         int64                      // ms since the epoch, by the writer's clock
	InCommitTimestamp *int64                     // ms since the epoch, when the table has the feature
	Operation         string                     // such as WRITE
	Parameters        map[string]string          // as text; values that were not strings are JSON
	ReadVersion       *int64                     // of the snapshot that the commit was built on
	IsolationLevel    string                     // such as Serializable
	IsBlindAppend     *bool                      // nil: unknown
	Metrics           map[string]string          // as text
	EngineInfo        string                     // the writer and its version
	TxnID             string                     // unique per attempt; the same id means the same commit
	Other             map[string]json.RawMessage // what else is in it
}

// Time is when the commit was made, by the writer's clock; the zero time if it does not say.
func (c *CommitInfo) Time() time.Time {
	switch {
	case c.InCommitTimestamp != nil:
		return time.UnixMilli(*c.InCommitTimestamp).UTC()
	case c.Timestamp != 0:
		return time.UnixMilli(c.Timestamp).UTC()
	}
	return time.Time{}
}

// UnmarshalJSON implements [json.Unmarshaler]. It fails only if data is not an object.
func (c *CommitInfo) UnmarshalJSON(data []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return fmt.Errorf("commitInfo: %w", err)
	}
	*c = CommitInfo{Version: c.Version}
	take := func(name string, into any) {
		if raw, ok := members[name]; ok && json.Unmarshal(raw, into) == nil {
			delete(members, name)
		}
	}
	take("timestamp", &c.Timestamp)
	take("inCommitTimestamp", &c.InCommitTimestamp)
	take("operation", &c.Operation)
	take("readVersion", &c.ReadVersion)
	take("isolationLevel", &c.IsolationLevel)
	take("isBlindAppend", &c.IsBlindAppend)
	take("engineInfo", &c.EngineInfo)
	take("txnId", &c.TxnID)
	c.Parameters = takeText(members, "operationParameters")
	c.Metrics = takeText(members, "operationMetrics")
	delete(members, "version")
	if len(members) > 0 {
		c.Other = members
	}
	return nil
}

// takeText moves the object called name out of members, its values as text.
func takeText(members map[string]json.RawMessage, name string) map[string]string {
	var object map[string]json.RawMessage
	if json.Unmarshal(members[name], &object) != nil || object == nil {
		return nil
	}
	delete(members, name)
	text := make(map[string]string, len(object))
	for k, raw := range object {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			s = string(raw)
		}
		text[k] = s
	}
	return text
}

// MarshalJSON implements [json.Marshaler], with the members in Spark's order.
func (c *CommitInfo) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	var failed error
	put := func(name string, v any) {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		encodeJSON(&b, name)
		b.WriteByte(':')
		if err := encodeValue(&b, v); err != nil && failed == nil {
			failed = fmt.Errorf("commitInfo.%s: %w", name, err)
		}
	}
	if c.InCommitTimestamp != nil {
		put("inCommitTimestamp", *c.InCommitTimestamp)
	}
	put("timestamp", c.Timestamp)
	put("operation", c.Operation)
	put("operationParameters", orEmpty(c.Parameters))
	if c.ReadVersion != nil {
		put("readVersion", *c.ReadVersion)
	}
	put("isolationLevel", c.IsolationLevel)
	if c.IsBlindAppend != nil {
		put("isBlindAppend", *c.IsBlindAppend)
	}
	put("operationMetrics", orEmpty(c.Metrics))
	put("engineInfo", c.EngineInfo)
	put("txnId", c.TxnID)
	for _, name := range slices.Sorted(maps.Keys(c.Other)) {
		put(name, c.Other[name])
	}
	b.WriteByte('}')
	return b.Bytes(), failed
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// encodeValue appends v as JSON without escaping <, > and &.
func encodeValue(b *bytes.Buffer, v any) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1)
	return nil
}
