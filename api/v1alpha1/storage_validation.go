package v1alpha1

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

var (
	// scheme matches what makes a URI of a string. One slash is enough, because s3:/bucket is a slip and no path.
	scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:/`)
	// objectScheme matches the beginning of the URIs of object stores, and objectURI those that are whole.
	objectScheme = regexp.MustCompile(`^(s3a?|gs|az|abfss)://`)
	objectURI    = regexp.MustCompile(`^((s3a?|gs|az)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]|abfss://[a-z0-9][a-z0-9-]{1,61}[a-z0-9]@[a-z0-9]{3,24}[.][a-z0-9.-]+)(/[^/%?#]+)*/?$`)
	dotPart      = regexp.MustCompile(`/[.]{1,2}(/|$)`)

	endpointURL = regexp.MustCompile(`^https?://[^/?#@ ]+(/[^?# ]*)?$`)
	regionName  = regexp.MustCompile(`^[A-Za-z0-9-]*$`)
	accountName = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	secretName  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

const (
	maxEndpoint = 512
	maxRegion   = 64
	maxAccount  = 24
	maxSecret   = 253

	supportedURIs = "a path, file:///path, s3://bucket/path, gs://bucket/path, az://container/path or abfss://container@account.dfs.core.windows.net/path"
)

func validateURI(uri string, at *field.Path) *field.Error {
	switch {
	case uri == "":
		return field.Required(at, "the table's place: "+supportedURIs)
	case len(uri) > maxURI:
		return field.TooLong(at, uri, maxURI)
	case strings.HasPrefix(uri, "file:///"):
		if _, err := url.PathUnescape(uri); err != nil {
			return field.Invalid(at, uri, "has a bad escape: write % as %25")
		}
	case objectScheme.MatchString(uri):
		return validateObjectURI(uri, at)
	case strings.HasPrefix(uri, "file:/"):
		return field.Invalid(at, uri, "has too few slashes: write file:///path")
	case scheme.MatchString(uri):
		name, rest, _ := strings.Cut(uri, ":")
		if !strings.HasPrefix(rest, "//") {
			return field.Invalid(at, uri, "has too few slashes: use "+supportedURIs)
		}
		return field.Invalid(at, uri, fmt.Sprintf("has the scheme %s, which is not supported: use %s", name, supportedURIs))
	}
	return nil
}

func validateObjectURI(uri string, at *field.Path) *field.Error {
	switch {
	case objectURI.MatchString(uri) && !dotPart.MatchString(uri):
		return nil
	case strings.ContainsAny(uri, "%?#"):
		return field.Invalid(at, uri, "holds one of % ? #, which readers take in different ways: use other names")
	}
	return field.Invalid(at, uri, "has no valid bucket, or an empty, . or .. part in its path: use "+supportedURIs)
}

// validateStorage checks the settings of the store at uri.
func validateStorage(s *StorageSpec, uri string, at *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	if !objectScheme.MatchString(uri) {
		return field.ErrorList{field.Invalid(at, uri, "storage is for tables in an object store: give uri a scheme such as s3://, or leave storage out")}
	}
	var errs field.ErrorList
	if (s.Region != "" || s.PathStyle != nil) && !strings.HasPrefix(uri, "s3") {
		errs = append(errs, field.Invalid(at, uri, "region and pathStyle are for tables at s3://"))
	}
	if s.Account != "" && !strings.HasPrefix(uri, "az:") {
		errs = append(errs, field.Invalid(at, uri, "account is for tables at az://; the URI of abfss:// names it"))
	}
	errs = appendBad(errs, matching(s.Endpoint, endpointURL, maxEndpoint, at.Child("endpoint"), "is no URL of a service: write http://host:port or https://host, without user, ? and #"))
	errs = appendBad(errs, matching(s.Region, regionName, maxRegion, at.Child("region"), "is no region: use letters, digits and '-', such as eu-central-1"))
	errs = appendBad(errs, matching(s.Account, accountName, maxAccount, at.Child("account"), "is no storage account: use 3 to 24 lower-case letters and digits"))
	return appendBad(errs, matching(s.CredentialsSecret, secretName, maxSecret, at.Child("credentialsSecret"), "is no name of a Secret: use lower-case letters, digits, '-' and '.'"))
}

// matching checks a value that may be left out.
func matching(value string, pattern *regexp.Regexp, longest int, at *field.Path, wrong string) *field.Error {
	switch {
	case value == "" || len(value) <= longest && pattern.MatchString(value):
		return nil
	case len(value) > longest:
		return field.TooLong(at, value, longest)
	}
	return field.Invalid(at, value, wrong)
}
