/** daikon brings no types; `dicom.ts` says which parts it uses. */
declare module 'daikon/release/current/daikon-min.js' {
  const daikon: unknown
  export default daikon
}
