// The embedded data: plain values, and arrays out of one compressed block.

const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
};
const byId = (id) => document.getElementById(id);

const PLAIN = JSON.parse(byId("view-plain").textContent);
const KINDS = PLAIN.kinds;
const LABELS = PLAIN.labels;
const TYPES = { i1: Int8Array, u1: Uint8Array, i2: Int16Array, i4: Int32Array, u4: Uint32Array, f4: Float32Array };

async function unpackBlock() {
  const text = atob(byId("view-block").textContent.trim());
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** Arrays by name; each is flat, its last axis runs fastest. */
function readArrays(block) {
  const read = ({ type, shape, start }) => new TYPES[type](block, start, shape.reduce((a, b) => a * b, 1));
  return Object.fromEntries(Object.entries(PLAIN.arrays).map(([name, place]) => [name, read(place)]));
}

/** The kind that a path is coloured by: the last of `KINDS` that occurs on it. */
function kindOf(codes) {
  let found = 0;
  KINDS.forEach((kind, index) => {
    if (codes.includes(kind.code)) found = index;
  });
  return found;
}

/** The links of a site with their paths as objects; a link's paths are made when asked for. */
function linksOf(arrays, index) {
  const column = (name) => arrays[`site${index}/${name}`];
  const [los, offset, delay, gain] = ["los", "path_offset", "delay_s", "gain_db"].map(column);
  const [position, interaction, vertex, material] = ["position_m", "interaction", "vertex_m", "material"].map(column);
  const depth = PLAIN.arrays[`site${index}/interaction`].shape[1];
  const pathAt = (row) => {
    const codes = [...interaction.subarray(row * depth, (row + 1) * depth)].filter((code) => code > 0);
    return {
      delay_ns: delay[row] * 1e9,
      gain_db: gain[row],
      codes,
      kind: kindOf(codes),
      materials: codes.map((_, i) => PLAIN.materials[material[row * depth + i]] ?? ""),
      points: codes.map((_, i) => [...vertex.subarray((row * depth + i) * 3, (row * depth + i + 1) * 3)]),
    };
  };
  const cloudAt = (i) => {
    const [first, last] = [...column("posterior_offset").subarray(i, i + 2)];
    const [at, share] = [column("posterior_position_m"), column("posterior_share")];
    return Array.from({ length: last - first }, (_, k) => ({ position: [...at.subarray(3 * (first + k), 3 * (first + k + 1))], share: share[first + k] }));
  };
  return [...los].map((label, i) => ({
    number: column("ue_index")[i],
    label,
    position: [...position.subarray(3 * i, 3 * i + 3)],
    numPaths: offset[i + 1] - offset[i],
    gain_db: offset[i + 1] > offset[i] ? gain[offset[i]] : -Infinity,
    cloud: () => (PLAIN.sites[index].is_located ? cloudAt(i) : []),
    paths: () => Array.from({ length: offset[i + 1] - offset[i] }, (_, k) => pathAt(offset[i] + k)),
  }));
}
