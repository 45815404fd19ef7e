package ingestor

import (
	"errors"
	"fmt"

	"github.com/weir-dev/weir/ingestor/event"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// opening is what the first frame of an interaction says about its payloads.
type opening struct {
	mime   event.MIME
	stream *protocol.Header // nil for a plain channel
}

// readOpening reads the metadata of r. Its errors are *protocol.Error.
func (p *Pipeline) readOpening(r *rsocket.Request) (opening, error) {
	var o opening
	mime, err := p.mimeOf(r.Conn.Info().DataMIME)
	if r.Conn.Info().MetadataMIME == rsocket.MIMEComposite {
		for entry, perr := range rsocket.EachComposite(r.Metadata) {
			if perr != nil {
				return o, &protocol.Error{Code: protocol.CodeBadHeader, Message: "metadata: " + perr.Error()}
			}
			switch entry.MIME {
			case protocol.MIMEStream:
				h, err := protocol.ParseHeader(entry.Content)
				if err != nil {
					return o, err
				}
				o.stream = &h
			case rsocket.MIMEPerStreamData:
				mime, err = p.perStreamMIME(entry.Content)
			}
		}
	}
	o.mime = mime
	return o, err
}

// perStreamMIME reads a message/x.rsocket.mime-type.v0 entry.
func (p *Pipeline) perStreamMIME(b []byte) (event.MIME, error) {
	name, ok := rsocket.StreamMIME(b)
	if !ok {
		return "", &protocol.Error{Code: protocol.CodeUnsupportedMIME, Message: "the per-stream MIME type entry is malformed or unassigned"}
	}
	return p.mimeOf(name)
}

// mimeOf reads a payload type. Clients that name none say so with the defaults of their library; their payloads are
// taken as what the pipeline expects.
func (p *Pipeline) mimeOf(name string) (event.MIME, error) {
	m, known := event.ParseMIME(name)
	switch {
	case m == "":
		return p.set.Decode.DefaultMIME(), nil
	case !known || !p.set.Decode.Takes(m):
		return "", &protocol.Error{Code: protocol.CodeUnsupportedMIME, Message: fmt.Sprintf(
			"payloads of type %.60q are not taken: send %s", name, p.set.Decode.Accepted())}
	}
	return m, nil
}

// payloadMIME is the type of one payload of a channel: its own per-stream entry if it has one, else the channel's. What is
// not taken is left to the decoder, which refuses the payload by name.
func payloadMIME(p *rsocket.Payload, channel event.MIME) event.MIME {
	if len(p.Metadata) == 0 {
		return channel
	}
	for entry, err := range rsocket.EachComposite(p.Metadata) {
		if err != nil {
			break
		}
		if entry.MIME == rsocket.MIMEPerStreamData {
			if name, ok := rsocket.StreamMIME(entry.Content); ok {
				return event.MIME(name)
			}
		}
	}
	return channel
}

// asRSocket turns a refusal into the ERROR frame of a request.
func asRSocket(err error) error {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return &rsocket.Error{Code: rsocket.CodeInvalid, Message: e.Error()}
	}
	return err
}
