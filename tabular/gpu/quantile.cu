// Return laws as rising locations on a device: lower quantiles of laws, and those of one backup under a policy. The
// twins of `lower_quantiles` and of distributional/quantile_kernels.py.
//
// One block per law, one lane per quantile (or several), and no memory between them. A projection walks the masses as
// the CPU does; all lanes read the same place at once. A backup is a mixture of rows that rise, so nothing is merged:
// the least location at which the mixture's distribution function has reached a level is, in each row, found by
// bisection, and so is how much of every other row lies at or below it. Sums over rows run in another order than the
// CPU's sums over merged atoms, so a level that a distribution function meets to the last bits could be told apart; the
// slack of levels is there for that. Compiled with --fmad=false: locations have the same bits as on the CPU.

#ifndef INDEX
#define INDEX int  // what counts pairs and transitions; long long where an int is too small
#endif

#define KERNEL extern "C" __global__ void __launch_bounds__(64, 8)

constexpr unsigned THREADS = 64;
constexpr double SLACK = 1e-12;  // LEVEL_SLACK of laws_kernels.py

// Law i has the masses mass[ptr[i]] to mass[ptr[i + 1] - 1], at places that rise. levels: one row for all where shared
// is not 0, else one for each law.
KERNEL project(const long long* ptr, const double* place, const double* mass, const double* levels, int shared, int m,
               double* out, unsigned laws) {
    for (unsigned i = blockIdx.x; i < laws; i += gridDim.x) {
        for (int j = threadIdx.x; j < m; j += THREADS) {
            const double level = levels[shared ? j : static_cast<long long>(i) * m + j];
            const double wanted = level * (1.0 - SLACK);
            long long at = ptr[i];
            const long long last = ptr[i + 1] - 1;
            double reached = mass[at];
            if (level >= 1.0) at = last;
            while (at < last && reached < wanted) reached += mass[++at];
            out[static_cast<long long>(i) * m + j] = place[at];
        }
    }
}

// What one state's mixture is made of.
struct Mixture {
    const INDEX *row_ptr, *continuing_end;
    const int* next_state;
    const double *probability, *expected_reward, *reward, *weight, *table;
    INDEX first, end;  // pairs
    int varies, m;
    double gamma, each;  // the last is 1 / m

    __device__ __forceinline__ double paid(INDEX i, INDEX q) const { return varies ? reward[q] : expected_reward[i]; }

    __device__ __forceinline__ const double* row(INDEX q) const {
        return table + static_cast<long long>(next_state[q]) * m;
    }

    // How many of the row's locations, moved by the backup, lie at or below x.
    __device__ __forceinline__ int reached(const double* row, double r, double x) const {
        int low = 0, high = m;
        while (low < high) {
            const int middle = (low + high) / 2;
            if (r + gamma * row[middle] <= x)
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }

    // The mass at or below x.
    __device__ __forceinline__ double below(double x) const {
        double sum = 0.0;
        for (INDEX i = first; i < end; ++i) {
            if (!(weight[i] > 0.0)) continue;
            for (INDEX q = row_ptr[i]; q < row_ptr[i + 1]; ++q) {
                const double share = weight[i] * probability[q], r = paid(i, q);
                if (q >= continuing_end[i])
                    sum += r <= x ? share : 0.0;
                else
                    sum += share * (reached(row(q), r, x) * each);
            }
        }
        return sum;
    }
};

// reward: one per transition where varies is not 0, else not read. weight: one probability per pair. table: rows of m
// rising locations. levels: as in `project`.
KERNEL evaluation_sweep(const INDEX* state_ptr, const INDEX* row_ptr, const INDEX* continuing_end,
                        const int* next_state, const double* probability, const double* expected_reward,
                        const double* reward, int varies, const double* weight, double gamma, const double* table,
                        const double* levels, int shared, int m, double each, double* out, unsigned states) {
    for (unsigned s = blockIdx.x; s < states; s += gridDim.x) {
        const Mixture mixture = {row_ptr, continuing_end,   next_state,       probability, expected_reward, reward,
                                 weight,  table,            state_ptr[s],     state_ptr[s + 1], varies,     m,
                                 gamma,   each};
        double total = 0.0, top = 0.0;
        for (INDEX i = mixture.first; i < mixture.end; ++i) {
            if (!(weight[i] > 0.0)) continue;
            for (INDEX q = row_ptr[i]; q < row_ptr[i + 1]; ++q) {
                const double share = weight[i] * probability[q], r = mixture.paid(i, q);
                if (!(share > 0.0)) continue;
                const double x = q < continuing_end[i] ? r + gamma * mixture.row(q)[m - 1] : r;
                top = total > 0.0 && x <= top ? top : x;
                total += share;
            }
        }
        for (int j = threadIdx.x; j < m; j += THREADS) {
            const double level = levels[shared ? j : static_cast<long long>(s) * m + j];
            const double wanted = level * (1.0 - SLACK) * total;
            double best = top;
            for (INDEX i = mixture.first; i < mixture.end; ++i) {
                if (!(weight[i] > 0.0)) continue;
                for (INDEX q = row_ptr[i]; q < row_ptr[i + 1]; ++q) {
                    if (!(weight[i] * probability[q] > 0.0)) continue;
                    const double r = mixture.paid(i, q);
                    if (q >= continuing_end[i]) {
                        if (r < best && mixture.below(r) >= wanted) best = r;
                        continue;
                    }
                    // The first location that has reached the level, among those that could be better.
                    const double* row = mixture.row(q);
                    int low = 0, high = mixture.reached(row, r, best);
                    while (low < high) {
                        const int middle = (low + high) / 2;
                        const double x = r + gamma * row[middle];
                        if (x < best && mixture.below(x) < wanted)
                            low = middle + 1;
                        else
                            high = middle;
                    }
                    if (low < m) {
                        const double x = r + gamma * row[low];
                        best = x < best ? x : best;
                    }
                }
            }
            out[static_cast<long long>(s) * m + j] = best;
        }
    }
}
