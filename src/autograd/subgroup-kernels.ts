/**
 * The texts of kernels' forms with subgroups, which `openDevice` asks for where the adapter has them. No more than texts: what
 * this imported besides would be cut out of the page's main file, too.
 */
export { default as addUpInLanes } from '../../kernels/add_up_lanes.wgsl'
export { default as addUp } from '../../kernels/add_up_subgroups.wgsl'
export { default as reduce } from '../../kernels/reduce_subgroups.wgsl'
