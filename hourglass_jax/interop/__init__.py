"""Other programs' formats: published weights in; StableHLO and ONNX out."""
