import sys

from nbpipe import Pipeline

pipeline = Pipeline.load()
model = pipeline["train"].load()


def predict(features, model):
    (size, _), (slope, intercept) = features[0], model
    return slope * size + intercept


online = pipeline.in_memory("features").then(predict)
rows = [{"size": float(sys.argv[1])}]
print(online.run({"load": rows}, params={"model": model})["predict"])
