module github.com/sessionkit/sessionkit/internal/release

go 1.25.2

require github.com/CycloneDX/cyclonedx-go v0.12.0
