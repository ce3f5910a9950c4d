/** nrrd-js brings no types; `nrrd.ts` says which parts it uses. */
declare module 'nrrd-js' {
  const nrrd: unknown
  export default nrrd
}
