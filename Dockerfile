# docker build -t cimsim . && docker run --rm -v "$PWD/runs:/work/runs" cimsim run
FROM python:3.12-slim AS build
COPY . /source
RUN python -m venv /opt/cimsim \
 && /opt/cimsim/bin/pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "torch>=2.6" \
 && /opt/cimsim/bin/pip install --no-cache-dir "/source[onnx,search]"

FROM python:3.12-slim
COPY --from=build /opt/cimsim /opt/cimsim
ENV PATH=/opt/cimsim/bin:$PATH CIMSIM_CACHE=/work/.cache MPLBACKEND=Agg
RUN useradd --create-home --uid 1000 cimsim && mkdir -p /work/runs /work/.cache && chown -R cimsim /work
USER cimsim
WORKDIR /work
ENTRYPOINT ["cimsim"]
CMD ["--help"]
