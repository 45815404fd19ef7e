package main

// Certificates of the public authorities, for machines that have none of their own: an image without a distribution. What
// the machine has, or SSL_CERT_FILE and SSL_CERT_DIR name, goes first.
import _ "golang.org/x/crypto/x509roots/fallback"
