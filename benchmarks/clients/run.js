// onnxruntime-node or onnxruntime-web: run job.json, write the outputs' bytes beside it.
const fs = require('fs');
const job = JSON.parse(fs.readFileSync(process.argv[2]));
const ort = require(job.package);

async function main() {
  if (ort.env && ort.env.wasm) ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(job.file);
  const result = [];
  for (const [index, path] of job.feeds.entries()) {
    const bytes = fs.readFileSync(path);
    const pixels = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const feed = {[session.inputNames[0]]: new ort.Tensor('float32', pixels, job.shape)};
    const found = await session.run(feed);
    const described = {};
    for (const name of session.outputNames) {
      const value = found[name];
      described[name] = {type: value.type, shape: value.dims.map(Number)};
      const data = await value.getData();
      fs.writeFileSync(`${job.out}/${index}.${name}`,
                       Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    }
    result.push(described);
  }
  fs.writeFileSync(`${job.out}/result.json`, JSON.stringify(result));
}

main().catch((error) => { console.error(error); process.exit(1); });
