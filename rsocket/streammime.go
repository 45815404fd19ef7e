package rsocket

// StreamMIME reads the content of a [MIMEPerStreamData] entry: a well-known id, or length and name. It is false if the
// content is malformed or the id is not assigned.
func StreamMIME(content []byte) (string, bool) {
	mime, _, rest, ok := cutWellKnown(content)
	return mime, ok && mime != "" && len(rest) == 0
}

// AppendStreamMIME appends the content of a [MIMEPerStreamData] entry. mime must have 1 to 128 ASCII bytes; otherwise
// nothing is appended.
func AppendStreamMIME(dst []byte, mime string) []byte {
	dst, _ = appendMIME(dst, mime)
	return dst
}

// AcceptedMIMEs reads the content of a [MIMEPerStreamAccept] entry: the MIME types the requester takes, in order. Unassigned
// ids are left out. The error is [ErrMetadata].
func AcceptedMIMEs(content []byte) ([]string, error) {
	var mimes []string
	for len(content) > 0 {
		mime, _, rest, ok := cutWellKnown(content)
		if !ok {
			return nil, ErrMetadata
		}
		if mime != "" {
			mimes = append(mimes, mime)
		}
		content = rest
	}
	return mimes, nil
}

// AppendAcceptedMIMEs appends the content of a [MIMEPerStreamAccept] entry.
func AppendAcceptedMIMEs(dst []byte, mimes ...string) []byte {
	for _, m := range mimes {
		dst, _ = appendMIME(dst, m)
	}
	return dst
}
