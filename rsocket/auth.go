package rsocket

import "encoding/binary"

// Types of authentication that travel as one byte.
const (
	AuthSimple = "simple" // user name and password
	AuthBearer = "bearer" // a token
)

// Auth is the content of a [MIMEAuthentication] entry. Its payload is part of the metadata it was read from.
type Auth struct {
	Type    string // AuthSimple, AuthBearer or a private one; empty for an unknown well-known id
	Payload []byte
}

// AppendAuth appends the content of a [MIMEAuthentication] entry with a type of 1 to 128 ASCII bytes; otherwise nothing is
// appended.
func AppendAuth(dst []byte, typ string, payload []byte) []byte {
	switch {
	case typ == AuthSimple:
		dst = append(dst, 0x80)
	case typ == AuthBearer:
		dst = append(dst, 0x81)
	case typ == "" || len(typ) > 128:
		return dst
	default:
		dst = append(append(dst, byte(len(typ)-1)), typ...)
	}
	return append(dst, payload...)
}

// AppendAuthSimple appends user name, at most 65,535 bytes, and password. Longer names append nothing.
func AppendAuthSimple(dst []byte, user, password string) []byte {
	if len(user) > 1<<16-1 {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(append(dst, 0x80), uint16(len(user)))
	return append(append(dst, user...), password...)
}

// AppendAuthBearer appends a token.
func AppendAuthBearer(dst []byte, token string) []byte { return append(append(dst, 0x81), token...) }

// ParseAuth reads the content of a [MIMEAuthentication] entry. The error is [ErrMetadata].
func ParseAuth(content []byte) (Auth, error) {
	if len(content) == 0 {
		return Auth{}, ErrMetadata
	}
	first, rest := content[0], content[1:]
	switch {
	case first == 0x80:
		return Auth{Type: AuthSimple, Payload: rest}, nil
	case first == 0x81:
		return Auth{Type: AuthBearer, Payload: rest}, nil
	case first&0x80 != 0:
		return Auth{Payload: rest}, nil
	}
	n := int(first) + 1
	if len(rest) < n {
		return Auth{}, ErrMetadata
	}
	return Auth{Type: string(rest[:n]), Payload: rest[n:]}, nil
}

// Simple returns user name and password if the type is [AuthSimple] and the payload is well formed.
func (a Auth) Simple() (user, password string, ok bool) {
	if a.Type != AuthSimple || len(a.Payload) < 2 {
		return "", "", false
	}
	n := int(binary.BigEndian.Uint16(a.Payload))
	b := a.Payload[2:]
	if n > len(b) {
		return "", "", false
	}
	return string(b[:n]), string(b[n:]), true
}

// Bearer returns the token if the type is [AuthBearer].
func (a Auth) Bearer() (token string, ok bool) {
	if a.Type != AuthBearer {
		return "", false
	}
	return string(a.Payload), true
}
