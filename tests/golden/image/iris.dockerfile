# The project with its packages, for machines that run tasks in containers.
# Made by nbpipe export image. Build it in the project's folder:
#   docker build -t team/iris:1 .

FROM python:3.12-slim AS packages
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY ["requirements.lock", "./requirements.lock"]
RUN pip install --no-cache-dir -r requirements.lock
# Without nbpipe there is no image.
RUN nbpipe --version

FROM python:3.12-slim
RUN groupadd --gid 1000 nbpipe \
 && useradd --create-home --uid 1000 --gid 1000 nbpipe \
 && install -d -o nbpipe -g nbpipe /project
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH HOME=/home/nbpipe
WORKDIR /project
COPY --chown=1000:1000 [".", "./"]
USER 1000:1000
CMD ["nbpipe", "build"]
