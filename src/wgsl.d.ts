/** A kernel file, loaded as its text by the build and by the test runner. */
declare module '*.wgsl' {
  const source: string
  export default source
}
