package main

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// keys are what requests must be signed with, by AWS Signature Version 4 in the Authorization header. The zero value lets
// everyone in.
type keys struct{ access, secret string }

// check lets requests through to next whose signature is right.
func (k keys) check(next http.Handler) http.Handler {
	if k.access == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code, message := k.refuse(r); code != "" {
			forbid(w, code, message)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// signature is what the Authorization header holds.
type signature struct {
	access, date, region, service string
	headers                       []string // lower case
	sum                           string
}

// refuse says why the request may not pass; the code is empty if it may.
func (k keys) refuse(r *http.Request) (code, message string) {
	s, err := parseSignature(r.Header.Get("Authorization"))
	switch {
	case err != nil:
		return "AccessDenied", err.Error()
	case s.access != k.access:
		return "InvalidAccessKeyId", "The access key is not known here."
	case !hmac.Equal([]byte(s.sum), []byte(k.sum(r, s))):
		return "SignatureDoesNotMatch", "The signature is not that of the secret key."
	}
	return "", ""
}

func parseSignature(header string) (signature, error) {
	var s signature
	rest, ok := strings.CutPrefix(header, "AWS4-HMAC-SHA256 ")
	if !ok {
		return s, errors.New("the request is not signed with AWS4-HMAC-SHA256")
	}
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			scope := strings.Split(value, "/")
			if len(scope) < 5 {
				return s, fmt.Errorf("the credential %q has no scope", value)
			}
			n := len(scope)
			s.access, s.date, s.region, s.service = strings.Join(scope[:n-4], "/"), scope[n-4], scope[n-3], scope[n-2]
		case "SignedHeaders":
			s.headers = strings.Split(value, ";")
		case "Signature":
			s.sum = value
		}
	}
	return s, nil
}

// sum is the signature that the request should have.
func (k keys) sum(r *http.Request, s signature) string {
	canonical := sha256.Sum256([]byte(canonicalRequest(r, s.headers)))
	text := strings.Join([]string{
		"AWS4-HMAC-SHA256", r.Header.Get("X-Amz-Date"), strings.Join([]string{s.date, s.region, s.service, "aws4_request"}, "/"),
		hex.EncodeToString(canonical[:]),
	}, "\n")
	key := []byte("AWS4" + k.secret)
	for _, part := range []string{s.date, s.region, s.service, "aws4_request", text} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return hex.EncodeToString(key)
}

// canonicalRequest is the text that was signed, as the AWS documentation of Signature Version 4 makes it.
func canonicalRequest(r *http.Request, headers []string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n%s\n%s\n", r.Method, cmp.Or(escape(r.URL.Path, true), "/"), canonicalQuery(r.URL.Query()))
	for _, name := range headers {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		fmt.Fprintf(&b, "%s:%s\n", name, strings.Join(strings.Fields(value), " "))
	}
	fmt.Fprintf(&b, "\n%s\n%s", strings.Join(headers, ";"), r.Header.Get("X-Amz-Content-Sha256"))
	return b.String()
}

func canonicalQuery(q url.Values) string {
	var parts []string
	for name, values := range q {
		for _, v := range values {
			parts = append(parts, escape(name, false)+"="+escape(v, false))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "&")
}

// escape escapes all but the unreserved characters of RFC 3986, and slashes if they are to stay.
func escape(s string, slashes bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0, c == '/' && slashes:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// forbid answers as S3 does.
func forbid(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusForbidden)
	fmt.Fprint(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: code, Message: message})
}
