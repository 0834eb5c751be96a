/* cores: how many processors this process may run on. */
#ifndef MR_OS_CORES_H
#define MR_OS_CORES_H

int cores_usable(void); /* by its affinity, so that a container's or an operator's choice counts; at least 1 */

#endif
