# The program for Cloud TPU: docker build -f launch/tpu.Dockerfile -t IMAGE .
FROM python:3.11-slim
WORKDIR /hourglass_jax
COPY requirements.txt pyproject.toml README.md LICENSE ./
COPY hourglass_jax hourglass_jax
RUN pip install --no-cache-dir -c requirements.txt '.[tpu]'
COPY configs configs
ENTRYPOINT ["python", "-m", "hourglass_jax.main"]
