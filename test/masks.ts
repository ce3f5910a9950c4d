export interface Labelled {
  readonly labels: Int32Array
  readonly count: number
  readonly areas: number[]
  readonly boxes: number[][]
  readonly centroids: number[][]
}

/** Components by flood fill, in raster order of their first pixels: the oracle. */
export function floodFill(mask: ArrayLike<number>, h: number, w: number, connectivity: 4 | 8): Labelled {
  const labels = new Int32Array(h * w)
  const [areas, boxes, centroids]: [number[], number[][], number[][]] = [[], [], []]
  const stack = new Int32Array(h * w)
  let count = 0
  for (let first = 0; first < h * w; first++) {
    if (!(mask[first]! > 0) || labels[first] !== 0) continue
    labels[first] = ++count
    let top = 0
    stack[top++] = first
    let [area, sx, sy, left, right, up, down] = [0, 0, 0, w, 0, h, 0]
    while (top > 0) {
      const i = stack[--top]!
      const [y, x] = [Math.floor(i / w), i % w]
      area++
      sx += x
      sy += y
      left = Math.min(left, x)
      right = Math.max(right, x)
      up = Math.min(up, y)
      down = Math.max(down, y)
      for (let dy = -1; dy <= 1; dy++) {
        for (let dx = -1; dx <= 1; dx++) {
          if (connectivity === 4 && dx !== 0 && dy !== 0) continue
          const [v, u] = [y + dy, x + dx]
          if (v < 0 || u < 0 || v >= h || u >= w) continue
          const j = v * w + u
          if (!(mask[j]! > 0) || labels[j] !== 0) continue
          labels[j] = count
          stack[top++] = j
        }
      }
    }
    areas.push(area)
    boxes.push([left, up, right - left + 1, down - up + 1])
    centroids.push([sx / area, sy / area])
  }
  return { labels, count, areas, boxes, centroids }
}
