package rsocket

import "fmt"

// AppendRoute appends routing metadata: tags of at most 255 bytes each; the first one is the route. Longer tags are cut.
func AppendRoute(dst []byte, tags ...string) []byte {
	for _, t := range tags {
		t = t[:min(len(t), 255)]
		dst = append(append(dst, byte(len(t))), t...)
	}
	return dst
}

// RouteTags returns the tags of routing metadata.
func RouteTags(content []byte) ([]string, error) {
	var tags []string
	for len(content) > 0 {
		tag, rest, ok := cutMIME(content)
		if !ok {
			return nil, fmt.Errorf("%w: route tag longer than the metadata", ErrMetadata)
		}
		tags = append(tags, string(tag))
		content = rest
	}
	return tags, nil
}

// Route returns the first routing tag of a request. metadataMIME is the connection's: composite metadata, or plain routing
// metadata. Without a route it returns "" and no error.
func Route(metadataMIME string, metadata []byte) (string, error) {
	tag, err := routeTag(metadataMIME, metadata)
	return string(tag), err
}

// routeTag is Route without a copy.
func routeTag(metadataMIME string, metadata []byte) ([]byte, error) {
	switch metadataMIME {
	case MIMERouting:
	case MIMEComposite:
		content, found, err := FindComposite(metadata, MIMERouting)
		if err != nil || !found {
			return nil, err
		}
		metadata = content
	default:
		return nil, nil
	}
	if len(metadata) == 0 {
		return nil, nil
	}
	tag, _, ok := cutMIME(metadata)
	if !ok {
		return nil, fmt.Errorf("%w: route tag longer than the metadata", ErrMetadata)
	}
	return tag, nil
}
