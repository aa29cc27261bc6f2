// Bellman backups on a device: the twins of the kernels in bellman.py and policy_sweeps.py, for CuPy's RawModule.
//
// WIDTH neighbouring lanes share a row and read it side by side; each lane holds ROWS rows in flight, since it is the
// number of loads under way that decides how much of the memory's bandwidth is used. What is read once is marked so
// (__ldcs), which leaves the second-level cache to the gathered values.
//
// A row's terms are summed by lane and then over the lanes, in an order that depends on WIDTH alone: equal rows give
// equal sums, so ties stay ties, and no sum depends on how threads are scheduled. Least and greatest do not depend on
// an order at all. Where the compiler fuses a product with a sum there are fewer roundings, never more, so the bound of
// certificate.py, which holds for any order, holds as it stands. Compile without fast-math.

#ifndef WIDTH
#define WIDTH 8  // a power of two, at most 32
#endif
#ifndef INDEX
#define INDEX int  // what counts pairs and transitions; long long where an int is too small
#endif

// Two blocks or more on a multiprocessor: told nothing, the compiler aims at four, saves registers, and issues the
// loads of one row after those of another (seen in machine code for compute capability 9.0).
#define KERNEL extern "C" __global__ void __launch_bounds__(256, 2)

constexpr int ROWS = 4;
constexpr unsigned THREADS = 256, LANES = 32, WARPS = THREADS / LANES, WHOLE_WARP = 0xffffffffu;
constexpr unsigned GROUPS = THREADS / WIDTH;

struct Extremes {
    double least, greatest, magnitude;
};

__device__ __forceinline__ double infinity() { return __longlong_as_double(0x7ff0000000000000LL); }

__device__ __forceinline__ Extremes nothing_seen() { return {infinity(), -infinity(), 0.0}; }

__device__ __forceinline__ void include(Extremes& seen, const Extremes& other) {
    seen.least = fmin(seen.least, other.least);
    seen.greatest = fmax(seen.greatest, other.greatest);
    seen.magnitude = fmax(seen.magnitude, other.magnitude);
}

__device__ __forceinline__ void include_change(Extremes& seen, double before, double after) {
    include(seen, {after - before, after - before, fabs(before)});
}

// The lanes that share this thread's rows, as the bits of a mask.
__device__ __forceinline__ unsigned group_of_lanes() {
    constexpr unsigned one_group = WIDTH == LANES ? WHOLE_WARP : (1u << (WIDTH % LANES)) - 1u;
    return one_group << (threadIdx.x % LANES / WIDTH * WIDTH);
}

// r + gamma P v of `count` (at most ROWS) rows from `row` on, alike in all lanes of the group.
__device__ __forceinline__ void row_values(const INDEX* __restrict__ first, const INDEX* __restrict__ end,
                                           const int* __restrict__ next_state, const double* __restrict__ probability,
                                           const double* __restrict__ reward, double gamma,
                                           const double* __restrict__ v, INDEX row, int count, double (&q)[ROWS]) {
    const INDEX lane = threadIdx.x % WIDTH;
    INDEX at[ROWS], stop[ROWS], longest = 0, somewhere = 0;
    double sum[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        const bool there = r < count;
        at[r] = there ? first[row + r] : 0;
        stop[r] = there ? end[row + r] : 0;
        q[r] = there ? reward[row + r] : 0.0;
        if (stop[r] - at[r] > longest) {
            longest = stop[r] - at[r];
            somewhere = at[r];
        }
        at[r] += lane;
        sum[r] = 0.0;
    }
    // Lanes past the end of their row read some other entry and count it as nothing: loads without conditions are all
    // issued before the first is waited for, which conditional ones (seen in the machine code) are not.
#pragma unroll 1
    for (INDEX done = 0; done < longest; done += WIDTH) {
        int target[ROWS];
        double mass[ROWS], value[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            const INDEX k = at[r] < stop[r] ? at[r] : somewhere;
            target[r] = __ldcs(next_state + k);
            mass[r] = __ldcs(probability + k);
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r) value[r] = __ldg(v + target[r]);
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            sum[r] += (at[r] < stop[r] ? mass[r] : 0.0) * value[r];
            at[r] += WIDTH;
        }
    }
    const unsigned group = group_of_lanes();
#pragma unroll
    for (int apart = WIDTH / 2; apart > 0; apart /= 2) {
#pragma unroll
        for (int r = 0; r < ROWS; ++r) sum[r] += __shfl_xor_sync(group, sum[r], apart, WIDTH);
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) q[r] += gamma * sum[r];
}

// Extremes over a block, in its thread 0.
__device__ __forceinline__ Extremes over_block(Extremes seen) {
    __shared__ Extremes of_warp[WARPS];
#pragma unroll
    for (int apart = LANES / 2; apart > 0; apart /= 2)
        include(seen, {__shfl_xor_sync(WHOLE_WARP, seen.least, apart),
                       __shfl_xor_sync(WHOLE_WARP, seen.greatest, apart),
                       __shfl_xor_sync(WHOLE_WARP, seen.magnitude, apart)});
    if (threadIdx.x % LANES == 0) of_warp[threadIdx.x / LANES] = seen;
    __syncthreads();
    if (threadIdx.x == 0)
        for (unsigned warp = 1; warp < WARPS; ++warp) include(seen, of_warp[warp]);
    return seen;
}

// True in one thread of the grid, which then holds the extremes over all blocks: in the block that finishes last.
// `ticket` counts the blocks that are done; the last one leaves it at 0 for the next launch.
__device__ __forceinline__ bool over_grid(Extremes& seen, double* partial, unsigned* ticket) {
    __shared__ bool last;
    seen = over_block(seen);
    if (threadIdx.x == 0) {
        partial[3 * blockIdx.x] = seen.least;
        partial[3 * blockIdx.x + 1] = seen.greatest;
        partial[3 * blockIdx.x + 2] = seen.magnitude;
        __threadfence();  // what other blocks read must be written before the ticket says so
        last = atomicInc(ticket, gridDim.x - 1) == gridDim.x - 1;
        __threadfence();
    }
    __syncthreads();
    if (!last) return false;
    seen = nothing_seen();
    for (unsigned block = threadIdx.x; block < gridDim.x; block += THREADS)
        include(seen, {__ldcg(partial + 3 * block), __ldcg(partial + 3 * block + 1), __ldcg(partial + 3 * block + 2)});
    seen = over_block(seen);
    return threadIdx.x == 0;
}

// Write T v into `tv` and a maximising pair per state into `greedy`, the lowest among ties; `summary` gets the least
// and greatest T v - v and the greatest |v|.
KERNEL
backup(const INDEX* __restrict__ state_ptr, const INDEX* __restrict__ row_ptr, const INDEX* __restrict__ continuing_end,
       const int* __restrict__ next_state, const double* __restrict__ probability,
       const double* __restrict__ expected_reward, double gamma, const double* __restrict__ v, double* __restrict__ tv,
       long long* __restrict__ greedy, unsigned states, double* partial, unsigned* ticket, double* summary) {
    Extremes seen = nothing_seen();
    for (unsigned s = blockIdx.x * GROUPS + threadIdx.x / WIDTH; s < states; s += gridDim.x * GROUPS) {
        const INDEX end = state_ptr[s + 1];
        INDEX choice = state_ptr[s];
        double best = -infinity();
        for (INDEX pair = choice; pair < end; pair += ROWS) {
            const int count = end - pair < ROWS ? static_cast<int>(end - pair) : ROWS;
            double q[ROWS];
            row_values(row_ptr, continuing_end, next_state, probability, expected_reward, gamma, v, pair, count, q);
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                if (r < count && q[r] > best) {
                    best = q[r];
                    choice = pair + r;
                }
            }
        }
        include_change(seen, v[s], best);
        if (threadIdx.x % WIDTH == 0) {
            tv[s] = best;
            greedy[s] = choice;
        }
    }
    if (over_grid(seen, partial, ticket)) {
        summary[0] = seen.least;
        summary[1] = seen.greatest;
        summary[2] = seen.magnitude;
    }
}

// Copy the continuing rows of the pairs `greedy` to where `first` leaves room for each state's longest row, in states
// where `held` has another pair.
KERNEL
gather(const INDEX* __restrict__ row_ptr, const INDEX* __restrict__ continuing_end, const int* __restrict__ next_state,
       const double* __restrict__ probability, const double* __restrict__ expected_reward,
       const long long* __restrict__ greedy, long long* __restrict__ held, const INDEX* __restrict__ first,
       INDEX* __restrict__ end, int* __restrict__ following, double* __restrict__ mass, double* __restrict__ reward,
       unsigned states) {
    const INDEX lane = threadIdx.x % WIDTH;
    for (unsigned s = blockIdx.x * GROUPS + threadIdx.x / WIDTH; s < states; s += gridDim.x * GROUPS) {
        const long long pair = greedy[s];
        if (pair == __ldcg(held + s)) continue;
        const INDEX from = row_ptr[pair], to = first[s], length = continuing_end[pair] - from;
        for (INDEX k = lane; k < length; k += WIDTH) {
            following[to + k] = __ldcs(next_state + from + k);
            mass[to + k] = __ldcs(probability + from + k);
        }
        __syncwarp(group_of_lanes());  // all lanes have read `held` before it changes
        if (lane == 0) {
            held[s] = pair;
            end[s] = to + length;
            reward[s] = expected_reward[pair];
        }
    }
}

// Write r + gamma P v of the gathered rows into `updated`. Where the gap that the changes imply is at most `goal`,
// `ended` gets the number of this sweep (from 1 on), and later sweeps that were launched already do nothing.
KERNEL
sweep(const INDEX* __restrict__ first, const INDEX* __restrict__ end, const int* __restrict__ following,
      const double* __restrict__ mass, const double* __restrict__ reward, double gamma, const double* __restrict__ v,
      double* __restrict__ updated, unsigned states, double away, double towards, double goal, int number,
      double* partial, unsigned* ticket, int* ended) {
    if (__ldcg(ended) != 0) return;
    Extremes seen = nothing_seen();
    const unsigned start = (blockIdx.x * GROUPS + threadIdx.x / WIDTH) * ROWS;
    for (unsigned s = start; s < states; s += gridDim.x * GROUPS * ROWS) {
        const int count = states - s < ROWS ? static_cast<int>(states - s) : ROWS;
        double q[ROWS];
        row_values(first, end, following, mass, reward, gamma, v, static_cast<INDEX>(s), count, q);
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            if (r < count) {
                include_change(seen, v[s + r], q[r]);
                if (threadIdx.x % WIDTH == static_cast<unsigned>(r) % WIDTH) updated[s + r] = q[r];
            }
        }
    }
    if (over_grid(seen, partial, ticket)) {
        const double high = seen.greatest * (seen.greatest >= 0 ? away : towards);
        const double low = seen.least * (seen.least <= 0 ? away : towards);
        if (high - low <= goal) *ended = number;
    }
}
